//! The protobuf JSON form of any message of `temper.v1`: what a spec file holds and what grpcurl takes.

use std::sync::LazyLock;

use prost::{Message, Name};
use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor, SerializeOptions};

/// JSON that is not the message's, or a message that has no JSON form.
#[derive(Debug, thiserror::Error)]
pub enum JsonError {
    /// Not JSON of this message; says where.
    #[error("not a {message} in JSON")]
    Read {
        /// The message's full name.
        message: String,
        /// What is wrong, with line and column.
        source: serde_json::Error,
    },
    /// A message that this release does not know.
    #[error("{0} is no message of temper.v1")]
    Unknown(String),
    /// Encoding failed: a defect.
    #[error("{message} cannot be re-encoded: {reason}")]
    Encode {
        /// The message's full name.
        message: String,
        /// Why.
        reason: String,
    },
}

/// Reads a message from its JSON form; unknown fields are refused, with line and column.
///
/// # Errors
/// When the text is not JSON of the message.
pub fn from_json<M: Message + Name + Default>(text: &str) -> Result<M, JsonError> {
    let read = |source| JsonError::Read {
        message: M::full_name(),
        source,
    };
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let message =
        DynamicMessage::deserialize(descriptor::<M>()?, &mut deserializer).map_err(read)?;
    deserializer.end().map_err(read)?;
    message
        .transcode_to()
        .map_err(|error| encode_error::<M>(&error))
}

/// Writes a message in its JSON form, indented, with proto field names in lower camel case.
///
/// # Errors
/// Only by a defect: when the message is not of `temper.v1`.
pub fn to_json<M: Message + Name>(message: &M) -> Result<String, JsonError> {
    let mut dynamic = DynamicMessage::new(descriptor::<M>()?);
    dynamic
        .transcode_from(message)
        .map_err(|error| encode_error::<M>(&error))?;
    let mut bytes = Vec::new();
    let mut serializer = serde_json::Serializer::pretty(&mut bytes);
    let options = SerializeOptions::new().stringify_64_bit_integers(false);
    dynamic
        .serialize_with_options(&mut serializer, &options)
        .map_err(|error| encode_error::<M>(&error))?;
    String::from_utf8(bytes).map_err(|error| encode_error::<M>(&error))
}

fn descriptor<M: Name>() -> Result<MessageDescriptor, JsonError> {
    static POOL: LazyLock<Option<DescriptorPool>> =
        LazyLock::new(|| DescriptorPool::decode(crate::DESCRIPTORS).ok());
    POOL.as_ref()
        .and_then(|pool| pool.get_message_by_name(&M::full_name()))
        .ok_or_else(|| JsonError::Unknown(M::full_name()))
}

fn encode_error<M: Name>(error: &dyn std::fmt::Display) -> JsonError {
    JsonError::Encode {
        message: M::full_name(),
        reason: error.to_string(),
    }
}
