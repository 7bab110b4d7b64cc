//! Whether a file's blocks can be overwritten where they are.
//!
//! A store into a mapping that needs a new block on a full disk is a SIGBUS. So only file systems are accepted that are known to
//! write in place, and of a file on them only extents without any peculiarity. What copies on write (btrfs, ZFS, bcachefs, XFS
//! with reflink, where a later `cp` of a live file makes its extents shared), or is unknown (overlay, FUSE, other systems'), is
//! not.
#![cfg_attr(target_os = "linux", expect(unsafe_code, reason = "ioctls that describe a file have no safe interface"))]

use std::fs::File;
use std::io;

use crate::storage::Overwrite;

#[cfg(not(target_os = "linux"))]
pub(super) fn overwrite(_file: &File, _len: u64) -> io::Result<Overwrite> {
    Ok(Overwrite::MayAllocate)
}

/// What overwriting the first `len` bytes of `file` may need. What was written before must be synced.
#[cfg(target_os = "linux")]
pub(super) fn overwrite(file: &File, len: u64) -> io::Result<Overwrite> {
    // The field's type and sign differ between platforms, the numbers are 32-bit patterns.
    let magic = u32::try_from(i128::from(rustix::fs::fstatfs(file)?.f_type) & 0xFFFF_FFFF).unwrap_or(0);
    match magic {
        linux::EXT4 => linux::by_extents(file, len),
        linux::XFS if linux::xfs_writes_in_place(file) => linux::by_extents(file, len),
        linux::TMPFS => linux::by_holes(file, len),
        _ => Ok(Overwrite::MayAllocate),
    }
}

#[cfg(target_os = "linux")]
mod linux {
    use std::ops::Range;
    use std::os::fd::{AsRawFd, RawFd};

    use rustix::fs::{SeekFrom, seek};
    use rustix::io::Errno;

    use super::{File, Overwrite, io};

    /// `f_type` numbers of statfs(2). ext2 and ext3 have that of ext4.
    pub(super) const EXT4: u32 = 0xEF53;
    pub(super) const XFS: u32 = 0x5846_5342;
    pub(super) const TMPFS: u32 = 0x0102_1994;

    /// `_IOR('X', 100, struct xfs_fsop_geom_v1)`: every kernel with XFS has it.
    const XFS_IOC_FSGEOMETRY_V1: libc::Ioctl = 0x8070_5864_u32 as libc::Ioctl;
    /// The flags up to here describe how metadata is kept; of those beyond, known and unknown ones, all may concern data:
    /// reflink (1 << 20) and zoned (1 << 27) mean that data is not overwritten in place.
    const XFS_HARMLESS: u32 = ((1 << 27) - 1) & !(1 << 20);

    #[repr(C)]
    #[derive(Default)]
    struct XfsGeometry {
        sizes: [u32; 8],
        blocks: [u64; 4],
        uuid: [u8; 16],
        stripe: [u32; 2],
        version: i32,
        flags: u32,
        more: [u32; 3],
    }

    /// Passes `argument` to ioctl(2).
    ///
    /// # Safety
    /// The kernel writes what `request` says and nothing more into `T`, for which any bytes are a value.
    unsafe fn ioctl<T>(fd: RawFd, request: libc::Ioctl, argument: &mut T) -> io::Result<()> {
        // SAFETY: the descriptor is open, the argument is exclusive, and the caller vouches for the request.
        match unsafe { libc::ioctl(fd, request, std::ptr::from_mut(argument)) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }

    /// Whether this XFS never copies on write. One that does not report it counts as one that does.
    pub(super) fn xfs_writes_in_place(file: &File) -> bool {
        const { assert!(size_of::<XfsGeometry>() == 112) };
        let mut geometry = XfsGeometry::default();
        // SAFETY: the request's number holds the size of the structure, 112 bytes, all of them integers.
        let result = unsafe { ioctl(file.as_raw_fd(), XFS_IOC_FSGEOMETRY_V1, &mut geometry) };
        result.is_ok() && geometry.flags & !XFS_HARMLESS == 0
    }

    /// `_IOWR('f', 11, struct fiemap)`: the size is that without extents.
    const FS_IOC_FIEMAP: libc::Ioctl = 0xC020_660B_u32 as libc::Ioctl;
    const FIEMAP_FLAG_SYNC: u32 = 1;
    const LAST: u32 = 1;
    const UNWRITTEN: u32 = 0x800;
    const MERGED: u32 = 0x1000;
    const EXTENTS: usize = 64;
    const COUNT: u32 = 64;

    #[repr(C)]
    #[derive(Default, Clone, Copy)]
    struct Extent {
        logical: u64,
        physical: u64,
        length: u64,
        reserved: [u64; 2],
        flags: u32,
        reserved_too: [u32; 3],
    }

    #[repr(C)]
    struct Fiemap {
        start: u64,
        length: u64,
        flags: u32,
        mapped: u32,
        count: u32,
        reserved: u32,
        extents: [Extent; EXTENTS],
    }

    /// Asks the file system for the extents of the file.
    pub(super) fn by_extents(file: &File, len: u64) -> io::Result<Overwrite> {
        const { assert!(COUNT as usize == EXTENTS && size_of::<Extent>() == 56 && size_of::<Fiemap>() == 32 + 56 * EXTENTS) };
        let (mut holes, mut at) = (Vec::new(), 0);
        while at < len {
            let mut map = Fiemap {
                start: at,
                length: len - at,
                flags: FIEMAP_FLAG_SYNC,
                mapped: 0,
                count: COUNT,
                reserved: 0,
                extents: [Extent::default(); EXTENTS],
            };
            // SAFETY: the kernel writes the head and at most `count` extents, which are there, all of them integers.
            match unsafe { ioctl(file.as_raw_fd(), FS_IOC_FIEMAP, &mut map) } {
                Err(error) if matches!(error.raw_os_error(), Some(libc::EOPNOTSUPP | libc::ENOTTY | libc::EBADR)) => {
                    return Ok(Overwrite::MayAllocate);
                }
                result => result?,
            }
            let found = &map.extents[..(map.mapped as usize).min(EXTENTS)];
            for extent in found {
                if extent.flags & !(LAST | MERGED | UNWRITTEN) != 0 {
                    return Ok(Overwrite::MayAllocate);
                }
                if extent.logical > at {
                    holes.push(at..extent.logical.min(len));
                }
                let end = extent.logical.saturating_add(extent.length);
                if extent.flags & UNWRITTEN != 0 {
                    holes.push(extent.logical.max(at)..end.min(len));
                }
                at = at.max(end);
            }
            if found.is_empty() || found.last().is_some_and(|last| last.flags & LAST != 0) {
                break;
            }
        }
        if at < len {
            holes.push(at..len);
        }
        Ok(in_place_but(holes))
    }

    /// Looks for holes, on a file system that has no other peculiarity.
    pub(super) fn by_holes(file: &File, len: u64) -> io::Result<Overwrite> {
        let (mut holes, mut at) = (Vec::new(), 0);
        while at < len {
            let hole = match seek(file, SeekFrom::Hole(at)) {
                Ok(hole) if hole < len => hole,
                Ok(_) => break,
                Err(Errno::NXIO) => at,
                Err(error) => return Err(error.into()),
            };
            at = match seek(file, SeekFrom::Data(hole)) {
                Ok(data) => data.min(len),
                Err(Errno::NXIO) => len,
                Err(error) => return Err(error.into()),
            };
            holes.push(hole..at);
        }
        Ok(in_place_but(holes))
    }

    fn in_place_but(holes: Vec<Range<u64>>) -> Overwrite {
        if holes.is_empty() { Overwrite::InPlace } else { Overwrite::Holes(holes) }
    }
}
