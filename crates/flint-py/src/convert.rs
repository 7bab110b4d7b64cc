//! Arguments that several methods take.

use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use flint_core::Error;
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBool, PyInt, PyString};

use crate::errors::{invalid_argument, to_py};

/// A key: any `str` that UTF-8 can represent. The engine checks its length.
pub(crate) struct Key(Py<PyString>);

/// The same for a call that ends before its arguments do. Dropping it needs no check of whether the thread has the interpreter lock.
pub(crate) struct BriefKey<'py>(Bound<'py, PyString>);

impl<'a, 'py> FromPyObject<'a, 'py> for BriefKey<'py> {
    type Error = PyErr;

    #[inline]
    fn extract(object: Borrowed<'a, 'py, PyAny>) -> PyResult<Self> {
        match object.cast_exact::<PyString>() {
            Ok(text) => Ok(Self(text.to_owned())),
            Err(_) => plain_str(object).map(Self),
        }
    }
}

impl BriefKey<'_> {
    /// The text; cached inside the Python object, so that the next call pays nothing.
    #[inline]
    pub(crate) fn text(&self) -> PyResult<&str> {
        utf8(&self.0)
    }

    /// The Python object.
    #[inline]
    pub(crate) fn into_object(self) -> Py<PyString> {
        self.0.unbind()
    }
}

impl<'a, 'py> FromPyObject<'a, 'py> for Key {
    type Error = PyErr;

    #[inline]
    fn extract(object: Borrowed<'a, 'py, PyAny>) -> PyResult<Self> {
        match object.cast_exact::<PyString>() {
            Ok(text) => Ok(Self(text.to_owned().unbind())),
            Err(_) => plain_str(object).map(|text| Self(text.unbind())),
        }
    }
}

/// An instance of a subclass of `str` as a plain `str`, so that results hold and pickle nothing else.
#[cold]
fn plain_str<'py>(object: Borrowed<'_, 'py, PyAny>) -> PyResult<Bound<'py, PyString>> {
    match object.cast::<PyString>() {
        Ok(text) => Ok(PyString::new(object.py(), utf8(&text)?)),
        Err(_) => Err(PyTypeError::new_err(format!(
            "a key or prefix must be a str, such as 'user-42', not {}",
            shown(object)
        ))),
    }
}

impl Key {
    /// A key that was one before.
    pub(crate) const fn of(text: Py<PyString>) -> Self {
        Self(text)
    }

    /// The text; cached inside the Python object, so that the next call pays nothing.
    #[inline]
    pub(crate) fn text<'a>(&'a self, py: Python<'a>) -> PyResult<&'a str> {
        utf8(self.0.bind(py))
    }

    /// The Python object.
    #[inline]
    pub(crate) fn object(&self, py: Python<'_>) -> Py<PyString> {
        self.0.clone_ref(py)
    }

    /// The Python object.
    #[inline]
    pub(crate) fn into_object(self) -> Py<PyString> {
        self.0
    }
}

#[inline]
fn utf8<'a>(text: &'a Bound<'_, PyString>) -> PyResult<&'a str> {
    text.to_str().map_err(|_| {
        let message = "it contains a lone surrogate, which UTF-8 cannot represent; a key is 1 to 512 bytes of UTF-8";
        to_py(text.py(), &Error::InvalidKey(message.to_owned()))
    })
}

/// A cost: an integer that fits in 64 bits. The engine compares it with the limit's capacity.
#[derive(Clone, Copy)]
pub(crate) struct Cost(pub(crate) u64);

impl<'a, 'py> FromPyObject<'a, 'py> for Cost {
    type Error = PyErr;

    #[inline]
    fn extract(object: Borrowed<'a, 'py, PyAny>) -> PyResult<Self> {
        match unsigned(object) {
            Some(cost) => Ok(Self(cost)),
            None => Err(refused_cost(object)),
        }
    }
}

#[cold]
fn refused_cost(object: Borrowed<'_, '_, PyAny>) -> PyErr {
    let given = shown(object);
    // check("k", "5/minute") means a limit.
    let hint = if object.is_instance_of::<PyString>() || object.get_type().name().is_ok_and(|name| name == "Limit") {
        format!("; a limit is passed by name, as limit={given}")
    } else {
        String::new()
    };
    let message =
        format!("{given} is not accepted; a cost is an integer from 1 to the limit's capacity, such as 1{hint}");
    to_py(object.py(), &Error::InvalidCost(message))
}

/// A number of things to return.
#[derive(Clone, Copy)]
pub(crate) struct Count(pub(crate) usize);

impl<'a, 'py> FromPyObject<'a, 'py> for Count {
    type Error = PyErr;

    fn extract(object: Borrowed<'a, 'py, PyAny>) -> PyResult<Self> {
        unsigned(object).and_then(|n| usize::try_from(n).ok()).map(Self).ok_or_else(|| {
            invalid_argument(
                object.py(),
                format!("limit must be an integer from 0 to 2**64 - 1, not {}", shown(object)),
            )
        })
    }
}

/// An argument that may be left out, and whose default is not `None`: `None` is then a value like any other, and rejected like any
/// other that is wrong.
pub(crate) enum Arg<'py> {
    Missing,
    Given(Bound<'py, PyAny>),
}

impl<'py> Arg<'py> {
    pub(crate) const fn get(&self) -> Option<&Bound<'py, PyAny>> {
        match self {
            Self::Missing => None,
            Self::Given(value) => Some(value),
        }
    }
}

impl<'py> FromPyObject<'_, 'py> for Arg<'py> {
    type Error = PyErr;

    fn extract(object: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        Ok(Self::Given(object.to_owned()))
    }
}

/// An integer from 0 to 2**64 - 1; None for anything else. A bool is not one, nor is a float, whatever its value.
#[inline]
pub(crate) fn unsigned(object: Borrowed<'_, '_, PyAny>) -> Option<u64> {
    if object.is_exact_instance_of::<PyInt>() || !object.is_instance_of::<PyBool>() {
        object.extract::<u64>().ok()
    } else {
        None
    }
}

/// The value as messages show it: its repr, or its type where that is long.
pub(crate) fn shown(object: Borrowed<'_, '_, PyAny>) -> String {
    let text = object.repr().and_then(|repr| repr.extract::<String>());
    match text {
        Ok(text) if text.chars().count() <= 60 => text,
        _ => match object.get_type().name() {
            Ok(name) if object.is_instance_of::<PyInt>() => format!("an {name} beyond 64 bits"),
            Ok(name) => format!("a long {name}"),
            Err(_) => "this value".to_owned(),
        },
    }
}

/// The scheme of a URL, in lower case; `None` for what is meant as a path. `http:/host` is what is left of a URL that went through
/// `pathlib`, and "unix:" needs no slash. A scheme has two characters at least (RFC 3986, 3.1, allows one).
pub(crate) fn url_scheme(text: &str) -> Option<String> {
    let (scheme, rest) = text.split_once(':')?;
    let mut chars = scheme.chars();
    let is_scheme = chars.next().is_some_and(|first| first.is_ascii_alphabetic())
        && scheme.len() > 1
        && chars.all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c));
    let scheme = scheme.to_ascii_lowercase();
    (is_scheme && (rest.starts_with('/') || matches!(&*scheme, "unix" | "http" | "https"))).then_some(scheme)
}

/// A directory as `str` or `os.PathLike[str]`, made absolute without resolving symbolic links. `name` is the argument's. `..` is what it is for the system: the
/// parent of the directory that a link before it leads to.
///
/// Raises StorageError for a relative path where the working directory was removed.
pub(crate) fn absolute_path(name: &str, path: &Bound<'_, PyAny>) -> PyResult<PathBuf> {
    // While the interpreter ends, nothing can be imported any more, and calls with a path still have an error of their own.
    static FSPATH: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let py = path.py();
    let fspath = FSPATH.get_or_try_init(py, || -> PyResult<_> { Ok(py.import("os")?.getattr("fspath")?.unbind()) })?;
    let refuse = || {
        let kind = path.get_type().name().map_or_else(|_| "this".to_owned(), |kind| kind.to_string());
        PyTypeError::new_err(format!("{name} must be a str or a Path, such as \".flint\", not {kind}"))
    };
    let text = fspath.bind(py).call1((path,)).map_err(|_| refuse())?;
    let Ok(text) = text.cast_into::<PyString>() else { return Err(refuse()) };
    let shown = || shown(text.as_any().as_borrowed());
    if text.len()? == 0 || text.contains("\0")? {
        let what = if text.len()? == 0 { "is empty" } else { "has a NUL character, which no path can have" };
        let message = format!("{name} must name a directory, such as \".flint\"; {} {what}", shown());
        return Err(invalid_argument(py, message));
    }
    if text.to_str().is_ok_and(|text| url_scheme(text).is_some()) {
        let message = format!(
            "{name} must name a directory, and {} is a URL: for a server use flint.SharedLimiter or flint.connect, on the command \
             line --url; a directory of that name is written with ./ in front",
            shown()
        );
        return Err(invalid_argument(py, message));
    }
    let given: PathBuf = text.extract().map_err(|_| {
        invalid_argument(py, format!("{name} must be a path that the file system can name; {} is not", shown()))
    })?;
    let absolute = if given.is_absolute() {
        given
    } else {
        let directory = std::env::current_dir().map_err(|error| {
            let op =
                "the working directory cannot be found; change to another one, or give an absolute path instead of";
            to_py(py, &Error::storage(op, &given, error))
        })?;
        directory.join(given)
    };
    Ok(tidy(&absolute))
}

/// The same place without doubled and trailing slashes and single dots, and without `..` where the system's parent directory is the
/// one that the text shows.
fn tidy(path: &Path) -> PathBuf {
    let place = |path: &Path| path.metadata().ok().map(|found| (found.dev(), found.ino()));
    let mut tidied = PathBuf::new();
    for component in path.components() {
        let shown = tidied.parent().filter(|_| component == Component::ParentDir);
        match shown.filter(|shown| place(shown).is_some_and(|shown| Some(shown) == place(&tidied.join("..")))) {
            Some(shown) => tidied = shown.to_path_buf(),
            None => tidied.push(component),
        }
    }
    tidied
}

/// A `bool`, nothing that merely has a truth value.
pub(crate) fn flag(name: &str, value: &Bound<'_, PyAny>) -> PyResult<bool> {
    value.extract::<bool>().map_err(|_| {
        invalid_argument(value.py(), format!("{name} must be True or False, not {}", shown(value.as_borrowed())))
    })
}

/// One of the names in `choices`.
pub(crate) fn choice<T: Copy>(name: &str, value: &Bound<'_, PyAny>, choices: &[(&str, T)]) -> PyResult<T> {
    let text = value.extract::<String>().ok();
    match choices.iter().find(|(known, _)| Some(*known) == text.as_deref()) {
        Some((_, chosen)) => Ok(*chosen),
        None => {
            let names: Vec<String> = choices.iter().map(|(known, _)| format!("{known:?}")).collect();
            let message = format!("{name} must be {}, not {}", names.join(" or "), shown(value.as_borrowed()));
            Err(invalid_argument(value.py(), message))
        }
    }
}
