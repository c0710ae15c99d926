//! JSON as Go's `encoding/json` reads and writes it, to the byte.
//!
//! Three of the dialects were defined by Go structs, so Go's habits *are* their wire format, and
//! serde's differ in ways that a peer can see:
//!
//! * keys match without regard to case, a repeated key: the last wins, `null` leaves the zero
//!   value;
//! * `<`, `>`, `&`, U+2028 and U+2029 are escaped inside strings, also inside passed-through JSON;
//! * whole floats have no `.0`, and exponents begin below 1e-6 and at 1e21;
//! * times keep the zone they came with.
//!
//! [`Go`] is implemented for Go's types and, through `go_struct!`, for the structs of a dialect.

mod read;
mod text;
mod time;
mod write;

use serde_json::value::RawValue;

pub use read::{ReadError, elements, members, same_key};
pub use text::{Raw, compact};
pub use time::GoTime;
pub use write::{ObjectWriter, float, string};

/// A value that reads and writes as Go's `encoding/json` does.
///
/// `Default` is Go's zero value: what a field holds that the text does not mention.
pub trait Go: Default {
    /// Takes the value that `raw` spells; `null` changes nothing, except for [`Raw`].
    ///
    /// # Errors
    /// [`ReadError`] when the text is of another type.
    fn read(&mut self, raw: &RawValue) -> Result<(), ReadError>;

    /// Appends the value's JSON text.
    fn write(&self, out: &mut String);

    /// Whether Go's `omitempty` leaves a field with this value out. Never true of a struct.
    fn is_empty(&self) -> bool {
        false
    }
}

/// Reads one value from the bytes of a frame.
///
/// Bytes that are not UTF-8 become U+FFFD first, as in Go.
///
/// # Errors
/// [`ReadError`] when the bytes are not JSON, or not JSON of the wanted shape.
pub fn from_slice<T: Go>(bytes: &[u8]) -> Result<T, ReadError> {
    from_text(&String::from_utf8_lossy(bytes))
}

/// Reads one value from JSON text.
///
/// # Errors
/// As [`from_slice`].
pub fn from_text<T: Go>(text: &str) -> Result<T, ReadError> {
    let raw: &RawValue = serde_json::from_str(text).map_err(|_| ReadError::new("JSON"))?;
    let mut value = T::default();
    value.read(raw)?;
    Ok(value)
}

/// Writes one value, without a line break at the end.
pub fn to_text<T: Go>(value: &T) -> String {
    let mut out = String::with_capacity(256);
    value.write(&mut out);
    out
}

/// Declares structs as Go would: the order of the fields is their order on the wire.
///
/// `field: Type` is written always, `field: Type [omit]` only when it is not empty, and
/// `field: Type = "name"` gives a wire name that is not the field's own.
macro_rules! go_struct {
    ($(
        $(#[$meta:meta])*
        $vis:vis struct $name:ident {
            $(
                $(#[$field_meta:meta])*
                $field:ident: $type:ty $(= $wire:literal)? $([$omit:ident])?
            ),* $(,)?
        }
    )*) => {$(
        $(#[$meta])*
        #[derive(Debug, Clone, Default, PartialEq)]
        #[allow(missing_docs, reason = "the fields are named as on the wire, unit last")]
        $vis struct $name {
            $($(#[$field_meta])* pub $field: $type,)*
        }

        impl $crate::dialect::gojson::Go for $name {
            fn read(
                &mut self,
                raw: &serde_json::value::RawValue,
            ) -> Result<(), $crate::dialect::gojson::ReadError> {
                for (key, value) in $crate::dialect::gojson::members(raw)? {
                    $(
                        let name = go_struct!(@name $field $($wire)?);
                        if $crate::dialect::gojson::same_key(&key, name) {
                            let read = $crate::dialect::gojson::Go::read(&mut self.$field, value);
                            read.map_err(|error| error.inside(name))?;
                            continue;
                        }
                    )*
                }
                Ok(())
            }

            fn write(&self, out: &mut String) {
                let mut object = $crate::dialect::gojson::ObjectWriter::new(out);
                $(
                    if go_struct!(@keep self.$field, $($omit)?) {
                        object.field(go_struct!(@name $field $($wire)?), &self.$field);
                    }
                )*
                object.end();
            }
        }
    )*};
    (@name $field:ident) => { stringify!($field) };
    (@name $field:ident $wire:literal) => { $wire };
    (@keep $value:expr,) => { true };
    (@keep $value:expr, omit) => { !$crate::dialect::gojson::Go::is_empty(&$value) };
}

pub(crate) use go_struct;
