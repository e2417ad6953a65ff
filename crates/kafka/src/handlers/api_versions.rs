//! ApiVersions (18), versions 0 to 4: which APIs there are. A version that is not there is answered in
//! version 0 (KIP-511), which librdkafka depends on. From version 3 on clients name their software, in
//! characters that can go into logs and metrics, and hear of features (KIP-584): `group.version` 1, which stands for the
//! groups of KIP-848. Clients before version 4 cannot read that a feature begins at 0, so they do not hear that it is
//! supported (KAFKA-17492), but only that it is in use.

use ottla_protocol::{
    ApiKey, ErrorCode, Str,
    messages::api_versions::{
        ApiVersion, ApiVersionsRequest, ApiVersionsResponse, FinalizedFeatureKey, SupportedFeatureKey,
    },
};
use ottla_storage::Storage;

use crate::{
    context::Call,
    dispatch::Api,
    reply::{Reply, RequestError, frame},
};

/// The feature that stands for the groups of KIP-848.
const GROUP_VERSION: Str = Str::from_static("group.version");
/// Its level.
const GROUP_VERSION_LEVEL: i16 = 1;
/// The first version in which a supported feature may begin at 0.
const LEVEL_0_FROM: i16 = 4;

pub(crate) fn handle<S: Storage>(call: Call, request: &ApiVersionsRequest) -> Result<Reply, RequestError> {
    let mut response = ApiVersionsResponse::default();
    let names = [&request.client_software_name, &request.client_software_version];
    if call.version >= 3 && !names.into_iter().all(|name| is_software_name(name)) {
        response.error_code = ErrorCode::INVALID_REQUEST;
    } else {
        response.api_keys = Api::<S>::TABLE.iter().map(entry).collect();
        add_features(call, &mut response);
    }
    Ok(Reply::Now(frame(call.correlation_id, call.version, &response)?))
}

fn add_features(call: Call, response: &mut ApiVersionsResponse) {
    if call.version >= LEVEL_0_FROM {
        response.supported_features.push(SupportedFeatureKey {
            name: GROUP_VERSION,
            min_version: 0,
            max_version: GROUP_VERSION_LEVEL,
            ..SupportedFeatureKey::default()
        });
    }
    // Nothing ever changes what is in use, so its epoch stays the first.
    response.finalized_features_epoch = 0;
    response.finalized_features.push(FinalizedFeatureKey {
        name: GROUP_VERSION,
        max_version_level: GROUP_VERSION_LEVEL,
        min_version_level: GROUP_VERSION_LEVEL,
        ..FinalizedFeatureKey::default()
    });
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
