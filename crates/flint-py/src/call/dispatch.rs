//! From the Python object of a parsed call to the call: the one list of the calls.

/// Evaluates `$body` with `$call` bound to the call in `$object`, of whichever class it is.
///
/// `remote`: any call; `engine`: one that the engine of this process can execute.
macro_rules! dispatch {
    (remote $object:expr, $call:ident => $body:expr) => {
        $crate::call::dispatch::dispatch!(@ $object, $call => $body;
            check::CheckCall check::AttemptCall check_all::CheckAllCall peek::PeekCall peek::ForecastCall key::DenyCall
            configure::LimitCall configure::LimitManyCall key::ResetCall key::DeleteCall key::StatusCall
            list::ListCall list::TopCall list::HistoryCall
            store::FlushCall store::CompactCall store::DoctorCall store::CountersCall store::RecordsCall
        )
    };
    (engine $object:expr, $call:ident => $body:expr) => {
        $crate::call::dispatch::dispatch!(@ $object, $call => $body;
            check::CheckCall check::AttemptCall check_all::CheckAllCall peek::PeekCall peek::ForecastCall key::DenyCall
            configure::LimitCall configure::LimitManyCall key::ResetCall key::DeleteCall key::StatusCall
            list::ListCall list::TopCall list::HistoryCall
            store::FlushCall store::CompactCall store::DoctorCall store::CountersCall
        )
    };
    (@ $object:expr, $call:ident => $body:expr; $($module:ident::$class:ident)*) => {{
        let object: &pyo3::Bound<'_, pyo3::PyAny> = $object.as_any();
        $(
            if let Ok($call) = object.cast_exact::<$crate::call::$module::$class>() {
                $body
            } else
        )*
        {
            let message = format!("{} is no call that can be executed here", object.get_type().name()?);
            Err(pyo3::exceptions::PyTypeError::new_err(message))
        }
    }};
}

pub(crate) use dispatch;
