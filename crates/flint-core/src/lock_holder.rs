//! What is known of the process that has a directory locked, and what helps in that case.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::files::{MAX_SOCKET_PATH_BYTES, SOCKET};
use crate::quote::{shell_word, url_path};

/// The process that holds a directory's lock, as far as it is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Holder {
    /// This process.
    Here {
        /// The path that it opened the directory with, unless another copy of the library did.
        opened_as: Option<PathBuf>,
        /// Whether it is the kernel of a notebook.
        is_notebook: bool,
    },
    /// Another one.
    Process {
        /// Its number.
        pid: u32,
        /// Its command line, where it can be read.
        command: Option<String>,
        /// What it has to do with this process.
        relation: Relation,
    },
    /// One of another PID namespace, of which the number means nothing here.
    OtherNamespace {
        /// Its number there.
        pid: u32,
    },
    /// Not the process that the lock file names, which has ended.
    Ended {
        /// The number of that one.
        pid: u32,
    },
    /// Nothing is known.
    Unknown,
}

/// What another process has to do with this one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Relation {
    /// It is the parent: a reloader, or a program that starts processes of its own.
    Parent,
    /// It runs the same program, of this name: a worker, or a command beside the application.
    SameProgram(String),
    /// None that is known.
    None,
}

impl Holder {
    /// Its number in this process's PID namespace.
    pub fn pid(&self) -> Option<u32> {
        match self {
            Self::Here { .. } => Some(std::process::id()),
            Self::Process { pid, .. } => Some(*pid),
            _ => None,
        }
    }
}

impl std::fmt::Display for Holder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Here { .. } => write!(f, "this process (pid {})", std::process::id()),
            Self::Process { pid, command, relation } => {
                write!(f, "process {pid}")?;
                if let Some(command) = command {
                    write!(f, " ({command})")?;
                }
                match relation {
                    Relation::Parent => write!(f, ", which started this process"),
                    Relation::SameProgram(name) => write!(f, ", which runs the same program as this one ({name})"),
                    Relation::None => Ok(()),
                }
            }
            Self::OtherNamespace { pid } => {
                write!(f, "a process of another PID namespace, such as another container, in which its number is {pid}")
            }
            Self::Ended { pid } => write!(
                f,
                "a process that cannot be identified from here (flint.lock names process {pid}, which has ended)"
            ),
            Self::Unknown => write!(f, "another process"),
        }
    }
}

/// The message that the directory `path` is locked by `holder`.
pub(crate) fn message(path: &Path, holder: &Holder, waited: Duration) -> String {
    let dir = path.display();
    let after = if waited.is_zero() {
        String::new()
    } else {
        format!(", and still was after {}.{:03} s (lock_timeout)", waited.as_secs(), waited.subsec_millis())
    };
    match holder {
        Holder::Here { opened_as, is_notebook } => {
            let pid = std::process::id();
            let name = opened_as.as_ref().filter(|name| *name != path);
            let name = name.map(|name| format!(" as {}", name.display())).unwrap_or_default();
            let cause = if *is_notebook {
                "a cell that runs again opens it again: create the Limiter in a cell of its own, and call its close() before you \
                 run that cell again"
            } else {
                "if you created only one, its module may have been imported twice"
            };
            format!(
                "{dir} is already open for writing in this process (pid {pid}){name}{after}: share that Limiter, close it first, or \
                 open with read_only=True; {cause}"
            )
        }
        Holder::Process { relation: Relation::Parent, .. } => format!(
            "{dir} is held by {holder}{after}: a reloader or multiprocessing imports a module in both. Create the Limiter when it is \
             first used (in a function under @functools.cache) and not at import, or turn the reloader off (flask run --no-reload, \
             manage.py runserver --noreload); for both to use it, run {}, or open with read_only=True to look only",
            server(path)
        ),
        Holder::Process { relation: Relation::SameProgram(_), .. } => format!(
            "{dir} is held by {holder}{after}: run one worker, or {}, or open with read_only=True to look only; for a shell or another \
             command of the application (manage.py shell), create the Limiter when it is first used (in a function under \
             @functools.cache) and not at import",
            server(path)
        ),
        _ => format!(
            "{dir} is held by {holder}{after}: run one worker, or {}, or open with read_only=True to look only",
            server(path)
        ),
    }
}

/// The server that several processes share instead of the directory `path`, with its command and its clients' URL.
fn server(path: &Path) -> String {
    let in_dir = path.join(SOCKET);
    let (prepare, socket) = if in_dir.as_os_str().len() <= MAX_SOCKET_PATH_BYTES {
        ("", in_dir)
    } else {
        // Whatever has this name in /tmp already, `mkdir` refuses.
        ("mkdir -m 700 /tmp/flint && ", Path::new("/tmp/flint").join(SOCKET))
    };
    format!(
        "one Flint server for all of them (`{prepare}flint --data-dir {} server start --unix {}`, and \
         flint.SharedLimiter(\"unix://{}\") in each)",
        shell_word(path),
        shell_word(&socket),
        url_path(&socket)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn app(relation: Relation) -> Holder {
        Holder::Process { pid: 7, command: Some("python app.py".to_owned()), relation }
    }

    fn of(path: &str, holder: &Holder) -> String {
        message(Path::new(path), holder, Duration::ZERO)
    }

    #[test]
    fn a_locked_directory_names_the_server_with_its_command() {
        let holder = app(Relation::None);
        let plain = of("/srv/app/.flint", &holder);
        assert!(
            plain.starts_with("/srv/app/.flint is held by process 7 (python app.py): run one worker, or "),
            "{plain}"
        );
        assert!(
            plain.contains("`flint --data-dir /srv/app/.flint server start --unix /srv/app/.flint/flint.sock`"),
            "{plain}"
        );
        assert!(plain.contains("SharedLimiter(\"unix:///srv/app/.flint/flint.sock\")"), "{plain}");
        let waited = message(Path::new("/srv/app"), &Holder::Unknown, Duration::from_millis(2500));
        let held = "/srv/app is held by another process, and still was after 2.500 s (lock_timeout): run one worker";
        assert!(waited.starts_with(held), "{waited}");
        let odd = of("/srv/it's here/é", &holder);
        assert!(odd.contains(r"`flint --data-dir '/srv/it'\''s here/é' server start"), "{odd}");
        assert!(odd.contains("SharedLimiter(\"unix:///srv/it%27s%20here/%C3%A9/flint.sock\")"), "{odd}");
    }

    #[test]
    fn a_proposed_socket_fits_into_the_systems_limit() {
        let longest = "d".repeat(MAX_SOCKET_PATH_BYTES - "/".len() - "/flint.sock".len());
        let fits = of(&format!("/{longest}"), &Holder::Unknown);
        assert!(fits.contains(&format!("--unix /{longest}/flint.sock`")), "{fits}");
        let exceeds = of(&format!("/{longest}d"), &Holder::Unknown);
        let command = format!(
            "`mkdir -m 700 /tmp/flint && flint --data-dir /{longest}d server start --unix /tmp/flint/flint.sock`"
        );
        assert!(exceeds.contains(&command), "{exceeds}");
        assert!(exceeds.contains("SharedLimiter(\"unix:///tmp/flint/flint.sock\")"), "{exceeds}");
    }

    #[test]
    fn the_relation_of_the_holder_decides_what_helps() {
        let parent = of("/srv", &app(Relation::Parent));
        assert!(
            parent.starts_with("/srv is held by process 7 (python app.py), which started this process: a reloader"),
            "{parent}"
        );
        let same = of("/srv", &app(Relation::SameProgram("app.py".to_owned())));
        assert!(same.contains(", which runs the same program as this one (app.py): run one worker"), "{same}");
        let here = |opened_as: &str, is_notebook| Holder::Here { opened_as: Some(opened_as.into()), is_notebook };
        let (link, own) = (of("/link", &here("/srv", false)), of("/srv", &here("/srv", true)));
        assert!(link.contains(&format!("in this process (pid {}) as /srv: share", std::process::id())), "{link}");
        assert!(link.ends_with("imported twice"), "{link}");
        assert!(own.contains(&format!("in this process (pid {}): share", std::process::id())), "{own}");
        assert!(own.contains("a cell that runs again"), "{own}");
    }
}
