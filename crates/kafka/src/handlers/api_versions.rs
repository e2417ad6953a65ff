//! ApiVersions (18), versions 0 to 4: which APIs there are. A version that is not there is answered in
//! version 0 (KIP-511), which librdkafka depends on.

use ottla_protocol::{
    ApiKey, ErrorCode,
    messages::api_versions::{ApiVersion, ApiVersionsResponse},
};

use crate::{
    context::Call,
    dispatch::{RequestError, TABLE},
    reply::{Reply, frame},
};

pub(crate) fn handle(call: Call) -> Result<Reply, RequestError> {
    let response = ApiVersionsResponse {
        api_keys: TABLE.iter().map(|api| entry(api.key, api.min, api.max)).collect(),
        ..ApiVersionsResponse::default()
    };
    Ok(Reply::Now(frame(call.correlation_id, call.version, &response)?))
}

/// Answers a version that is not there.
pub(crate) fn refuse(call: Call) -> Result<Reply, RequestError> {
    let own = TABLE.iter().filter(|api| api.key == ApiKey::API_VERSIONS);
    let response = ApiVersionsResponse {
        error_code: ErrorCode::UNSUPPORTED_VERSION,
        api_keys: own.map(|api| entry(api.key, api.min, api.max)).collect(),
        ..ApiVersionsResponse::default()
    };
    Ok(Reply::Now(frame(call.correlation_id, 0, &response)?))
}

fn entry(api_key: ApiKey, min_version: i16, max_version: i16) -> ApiVersion {
    ApiVersion { api_key, min_version, max_version, ..ApiVersion::default() }
}
