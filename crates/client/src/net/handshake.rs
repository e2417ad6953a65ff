//! The steps from an open socket to a connection that can be used. Encryption and authentication will be steps here.

use ottla_protocol::{
    ErrorCode, Message,
    messages::api_versions::{ApiVersionsRequest, ApiVersionsResponse},
};

use super::{
    versions::Versions,
    wire::{Wire, read_answer},
};
use crate::error::{Error, ErrorKind};

/// The version of ApiVersions that is asked for first. A broker that does not know it answers in version 0 with the
/// versions that it knows (KIP-511).
const FIRST_VERSION: i16 = 3;
/// Where the error code stands in the answer, behind the correlation id, in every version.
const ERROR_CODE_AT: usize = 4;

/// Asks the broker what it can do.
///
/// # Errors
/// The connection ends, or the broker does not answer as one of Kafka's.
pub(crate) async fn shake_hands(wire: &mut Wire, broker: &str) -> Result<Versions, Error> {
    let frame = wire.ask(FIRST_VERSION, &request()).await?;
    let code = frame.get(ERROR_CODE_AT..ERROR_CODE_AT + 2).map(|code| i16::from_be_bytes([code[0], code[1]]));
    let response = if code == Some(ErrorCode::UNSUPPORTED_VERSION.0) {
        let told = read_answer::<ApiVersionsRequest>(&frame, 0)?;
        let version = Versions::new(broker.to_owned(), &told.api_keys).newest::<ApiVersionsRequest>();
        // A broker that does not name this API knows at least its first version.
        wire.call(version.unwrap_or(0).min(FIRST_VERSION - 1), &request()).await?
    } else {
        read_answer::<ApiVersionsRequest>(&frame, FIRST_VERSION)?
    };
    understood(broker, &response)
}

fn request() -> ApiVersionsRequest {
    ApiVersionsRequest {
        client_software_name: "ottla-client".into(),
        client_software_version: env!("CARGO_PKG_VERSION").into(),
        ..ApiVersionsRequest::default()
    }
}

fn understood(broker: &str, response: &ApiVersionsResponse) -> Result<Versions, Error> {
    if !response.error_code.is_none() {
        let what = format!("{broker} refuses to say what it can do: {}", response.error_code);
        return Err(Error::new(ErrorKind::Broker, what));
    }
    Ok(Versions::new(broker.to_owned(), &response.api_keys))
}

const _: () = assert!(*ApiVersionsRequest::VERSIONS.end() >= FIRST_VERSION);
