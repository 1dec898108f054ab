//! Bytes as hexadecimal digits.

use std::fmt::Write;

use serde::{Deserialize, Deserializer, Serializer, de::Error};

pub(crate) fn serialize<S: Serializer>(bytes: &Option<Vec<u8>>, to: S) -> Result<S::Ok, S::Error> {
    let mut text = String::new();
    for byte in bytes.iter().flatten() {
        let _ = write!(text, "{byte:02x}");
    }
    to.serialize_str(&text)
}

pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Vec<u8>>, D::Error> {
    let text = std::borrow::Cow::<str>::deserialize(from)?;
    text.as_bytes()
        .chunks(2)
        .map(|pair| {
            let &[high, low] = pair else { return None };
            let digit = |byte| char::from(byte).to_digit(16);
            Some((digit(high)? << 4 | digit(low)?) as u8)
        })
        .collect::<Option<Vec<u8>>>()
        .map(Some)
        .ok_or_else(|| D::Error::custom("these are no hexadecimal digits"))
}

#[cfg(test)]
mod tests {
    use super::deserialize;

    #[test]
    fn digits_are_read_in_pairs_and_nothing_else_is() {
        let read = |text: &str| {
            let mut json = serde_json::Deserializer::from_str(text);
            deserialize(&mut json).ok().flatten()
        };
        assert_eq!(read(r#""00fFa9""#), Some(vec![0, 0xff, 0xa9]));
        assert_eq!(read(r#""""#), Some(vec![]));
        for other in [
            r#""0""#, r#""000""#, r#""+f""#, r#"" f""#, r#""0g""#, r#""é""#, "0",
        ] {
            assert_eq!(read(other), None, "{other}");
        }
    }
}
