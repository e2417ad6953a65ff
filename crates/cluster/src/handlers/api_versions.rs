//! ApiVersions (18), versions 0 to 4: which APIs the version of Kafka has that the node stands for. A version that it
//! does not know is answered in version 0 (KIP-511), before 2.4 without a hint which version it is.

use ottla_protocol::{
    ApiKey, ErrorCode,
    messages::api_versions::{ApiVersion, ApiVersionsRequest, ApiVersionsResponse},
};

use super::{Call, Done};
use crate::{state::State, versions::KafkaVersion};

pub(super) fn handle(state: &mut State, call: &Call, _: ApiVersionsRequest) -> Done<ApiVersionsResponse> {
    let Some(node) = state.node(call.node) else { return Done::Close };
    Done::Answer(match call.error() {
        Some(error_code) => ApiVersionsResponse { error_code, ..ApiVersionsResponse::default() },
        None => ApiVersionsResponse { api_keys: apis(node.version), ..ApiVersionsResponse::default() },
    })
}

/// Answers a version that is not there.
pub(super) fn refuse(kafka: KafkaVersion) -> ApiVersionsResponse {
    let mut api_keys = apis(kafka);
    api_keys.retain(|api| kafka >= KafkaVersion::V2_4 && api.api_key == ApiKey::API_VERSIONS);
    ApiVersionsResponse {
        error_code: ErrorCode::UNSUPPORTED_VERSION,
        api_keys,
        ..ApiVersionsResponse::default()
    }
}

fn apis(kafka: KafkaVersion) -> Vec<ApiVersion> {
    let entry = |(api_key, versions): (ApiKey, std::ops::RangeInclusive<i16>)| ApiVersion {
        api_key,
        min_version: *versions.start(),
        max_version: *versions.end(),
        ..ApiVersion::default()
    };
    kafka.apis().map(entry).collect()
}
