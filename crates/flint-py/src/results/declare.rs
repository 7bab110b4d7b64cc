//! The declaration of a result class.

/// Declares a result class, once: the Python class, its constructor, its attributes, and what mappings, `repr`, JSON (the shown
/// attributes), equality, hashes and pickles (the constructor's parameters) consist of.
///
/// `shown` attributes are fields of the mapping, in this order; `hidden` ones are not. Each parameter of the constructor has an
/// attribute of its name.
macro_rules! result_class {
    (
        $(#[$class_meta:meta])*
        $vis:vis struct $name:ident $body:tt

        |$this:ident, $py:ident|

        $(#[$new_meta:meta])*
        new($($parameter:ident: $parameter_type:ty),* $(,)?) $new:block

        fields {$(
            $kind:ident {
                $(#[$meta:meta])*
                $field:ident: $type:ty => $value:expr
            }
        )*}

        $(methods { $($methods:tt)* })?
    ) => {
        result_class!(@struct $(#[$class_meta])* $vis struct $name $body);

        impl $name {
            /// The Python object.
            #[inline]
            $vis fn into_object(self, py: Python<'_>) -> PyResult<Bound<'_, Self>> {
                Bound::new(py, PyClassInitializer::from(Record).add_subclass(self))
            }
        }

        #[pymethods]
        impl $name {
            #[new]
            $(#[$new_meta])*
            fn new($py: Python<'_>, $($parameter: $parameter_type),*) -> PyResult<PyClassInitializer<Self>> {
                let _ = $py;
                let this: Self = $new;
                Ok(PyClassInitializer::from(Record).add_subclass(this))
            }

            #[classattr]
            fn _fields(py: Python<'_>) -> PyResult<Bound<'_, PyTuple>> {
                let fields = [$((stringify!($kind), stringify!($field))),*];
                names(py, fields.iter().filter(|(kind, _)| *kind == "shown").map(|(_, name)| *name))
            }

            #[classattr]
            fn _state(py: Python<'_>) -> PyResult<Bound<'_, PyTuple>> {
                names(py, [$(stringify!($parameter)),*].into_iter())
            }

            $(
                $(#[$meta])*
                #[getter]
                #[inline]
                fn $field<'py>(&self, $py: Python<'py>) -> PyResult<$type> {
                    let ($this, _) = (self, $py);
                    Ok($value)
                }
            )*

            $($($methods)*)?
        }
    };
    (@struct $(#[$class_meta:meta])* $vis:vis struct $name:ident ($($body:tt)*)) => {
        $(#[$class_meta])*
        $vis struct $name($($body)*);
    };
    (@struct $(#[$class_meta:meta])* $vis:vis struct $name:ident {$($body:tt)*}) => {
        $(#[$class_meta])*
        $vis struct $name { $($body)* }
    };
}

pub(super) use result_class;
