//! Which file systems can keep the promises.

use std::path::Path;

/// Says in a sentence why the file system under `path` (or under its nearest existing ancestor) is unsupported: on a network
/// file system locks, mappings and fsync do not mean what they mean on a local one. Anything local, and anything
/// unknown, is accepted.
pub fn reject_unsupported_fs(path: &Path) -> Result<(), String> {
    let Some(existing) = path.ancestors().find(|p| p.exists()) else { return Ok(()) };
    match network_fs(existing) {
        None => Ok(()),
        Some(name) => Err(format!(
            "the directory is on a network file system ({name}), where file locks and fsync cannot be relied on; \
             use a directory on a local disk"
        )),
    }
}

#[cfg(target_os = "linux")]
fn network_fs(path: &Path) -> Option<String> {
    let kind = rustix::fs::statfs(path).ok()?.f_type;
    // The field's type and sign differ between platforms, the numbers are 32-bit patterns.
    let magic = u32::try_from(i128::from(kind) & 0xFFFF_FFFF).ok()?;
    if magic == FUSE {
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").ok()?;
        let device = rustix::fs::stat(path).ok()?.st_dev;
        return fuse_network_type(&mounts, rustix::fs::major(device), rustix::fs::minor(device)).map(str::to_owned);
    }
    NETWORK.iter().find(|(number, _)| *number == magic).map(|(_, name)| (*name).to_owned())
}

#[cfg(not(target_os = "linux"))]
fn network_fs(path: &Path) -> Option<String> {
    let info = rustix::fs::statfs(path).ok()?;
    if info.f_flags & u32::try_from(libc::MNT_LOCAL).ok()? != 0 {
        return None;
    }
    let name: Vec<u8> = info.f_fstypename.iter().map(|c| c.to_ne_bytes()[0]).take_while(|c| *c != 0).collect();
    Some(String::from_utf8_lossy(&name).into_owned())
}

/// `f_type` numbers of statfs(2).
#[cfg(target_os = "linux")]
const NETWORK: [(u32, &str); 9] = [
    (0x6969, "NFS"),
    (0x517B, "SMB"),
    (0xFF53_4D42, "CIFS"),
    (0xFE53_4D42, "SMB2"),
    (0x564C, "NCP"),
    (0x5346_414F, "AFS"),
    (0x6B41_4653, "kAFS"),
    (0x7375_7245, "Coda"),
    (0x00C3_6400, "Ceph"),
];

#[cfg(target_os = "linux")]
const FUSE: u32 = 0x6573_5546;

/// FUSE serves local and remote storage alike; the mount's type tells. The known remote ones:
#[cfg(target_os = "linux")]
const FUSE_NETWORK: [&str; 17] = [
    "fuse.sshfs",
    "fuse.s3fs",
    "fuse.mount-s3",
    "fuse.mountpoint-s3",
    "fuse.goofys",
    "fuse.gcsfuse",
    "fuse.blobfuse",
    "fuse.blobfuse2",
    "fuse.rclone",
    "fuse.glusterfs",
    "fuse.ceph-fuse",
    "fuse.davfs",
    "fuse.davfs2",
    "fuse.curlftpfs",
    "fuse.juicefs",
    "fuse.smbnetfs",
    "fuse.gvfsd-fuse",
];

/// The type of the mount with this device number, if it is a remote one. A line of /proc/self/mountinfo reads
/// `36 35 98:0 /root /mount/point options optional-fields - type source options`.
#[cfg(target_os = "linux")]
fn fuse_network_type(mountinfo: &str, major: u32, minor: u32) -> Option<&str> {
    let device = format!("{major}:{minor}");
    let line = mountinfo.lines().find(|line| line.split(' ').nth(2) == Some(device.as_str()))?;
    let (_, after) = line.split_once(" - ")?;
    let kind = after.split(' ').next()?;
    FUSE_NETWORK.contains(&kind).then_some(kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_local_directory_and_one_not_made_yet_are_accepted() {
        let dir = std::env::temp_dir();
        assert_eq!(reject_unsupported_fs(&dir), Ok(()));
        assert_eq!(reject_unsupported_fs(&dir.join("no/such/directory")), Ok(()));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn remote_fuse_mounts_are_not_taken_for_local_ones() {
        let mounts = "21 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n\
                      40 21 0:50 / /mnt/remote rw shared:2 master:3 - fuse.sshfs host:/ rw,user_id=0\n\
                      41 21 0:51 / /mnt/local rw - fuse.ntfs-3g /dev/sdb1 rw\n";
        assert_eq!(fuse_network_type(mounts, 0, 50), Some("fuse.sshfs"));
        assert_eq!(fuse_network_type(mounts, 0, 51), None);
        assert_eq!(fuse_network_type(mounts, 8, 1), None);
        assert_eq!(fuse_network_type(mounts, 9, 9), None);
    }
}
