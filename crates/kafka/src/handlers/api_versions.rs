//! ApiVersions (18), versions 0 to 4: which APIs there are. A version that is not there is answered in
//! version 0 (KIP-511), which librdkafka depends on. From version 3 on clients name their software, in
//! characters that can go into logs and metrics.

use ottla_protocol::{
    ApiKey, ErrorCode,
    messages::api_versions::{ApiVersion, ApiVersionsRequest, ApiVersionsResponse},
};
use ottla_storage::Storage;

use crate::{
    context::Call,
    dispatch::Api,
    reply::{Reply, RequestError, frame},
};

pub(crate) fn handle<S: Storage>(call: Call, request: &ApiVersionsRequest) -> Result<Reply, RequestError> {
    let mut response = ApiVersionsResponse::default();
    let names = [&request.client_software_name, &request.client_software_version];
    if call.version >= 3 && !names.into_iter().all(|name| is_software_name(name)) {
        response.error_code = ErrorCode::INVALID_REQUEST;
    } else {
        response.api_keys = Api::<S>::TABLE.iter().map(entry).collect();
    }
    Ok(Reply::Now(frame(call.correlation_id, call.version, &response)?))
}

/// Answers a version that is not there.
pub(crate) fn refuse<S: Storage>(call: Call) -> Result<Reply, RequestError> {
    let own = Api::<S>::TABLE.iter().filter(|api| api.key == ApiKey::API_VERSIONS);
    let response = ApiVersionsResponse {
        error_code: ErrorCode::UNSUPPORTED_VERSION,
        api_keys: own.map(entry).collect(),
        ..ApiVersionsResponse::default()
    };
    Ok(Reply::Now(frame(call.correlation_id, 0, &response)?))
}

fn entry<S: Storage>(api: &Api<S>) -> ApiVersion {
    ApiVersion { api_key: api.key, min_version: api.min, max_version: api.max, ..ApiVersion::default() }
}

/// Whether a name or version of software is ASCII letters and digits, with `-` and `.` between them.
fn is_software_name(name: &str) -> bool {
    let ends = name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.ends_with(|c: char| c.is_ascii_alphanumeric());
    ends && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '.'))
}
