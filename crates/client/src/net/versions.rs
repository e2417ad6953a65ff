//! Which versions of which APIs a broker has.

use std::collections::HashMap;

use ottla_protocol::{ApiKey, Request, messages::api_versions::ApiVersion};

use crate::error::{Error, ErrorKind};

/// The APIs of a broker, as it told them (KIP-35).
#[derive(Clone, Debug, Default)]
pub(crate) struct Versions {
    broker: String,
    apis: HashMap<ApiKey, (i16, i16)>,
}

impl Versions {
    /// What a broker told; `broker` names it in errors.
    pub(crate) fn new(broker: String, told: &[ApiVersion]) -> Self {
        let apis = told.iter().map(|api| (api.api_key, (api.min_version, api.max_version))).collect();
        Self { broker, apis }
    }

    /// The newest version of a request that both sides know.
    ///
    /// # Errors
    /// `UnsupportedVersion`, which names the API and the versions of both sides.
    pub(crate) fn newest<R: Request>(&self) -> Result<i16, Error> {
        self.from::<R>(*R::VERSIONS.start())
    }

    /// The same, but not an older one than `least`, the first that can say what has to be said.
    ///
    /// # Errors
    /// `UnsupportedVersion`, which names the API and the versions of both sides.
    pub(crate) fn from<R: Request>(&self, least: i16) -> Result<i16, Error> {
        let (first, last) = (least, *R::VERSIONS.end());
        let unsupported = |has: String| {
            let (api, broker) = (api_name::<R>(), &self.broker);
            let what =
                format!("{broker} {has}; this client needs version {first} to {last} of {api} for this");
            Error::new(ErrorKind::UnsupportedVersion, what)
        };
        let Some((min, max)) = self.apis.get(&R::API_KEY) else {
            return Err(unsupported(format!("does not have the API {}", api_name::<R>())));
        };
        let newest = last.min(*max);
        if newest < first.max(*min) {
            return Err(unsupported(format!("has versions {min} to {max} of {}", api_name::<R>())));
        }
        Ok(newest)
    }
}

/// `Metadata` of a `MetadataRequest`.
pub(crate) fn api_name<R: Request>() -> &'static str {
    R::NAME.strip_suffix("Request").unwrap_or(R::NAME)
}

#[cfg(test)]
mod tests {
    use ottla_protocol::{
        Message,
        messages::{metadata::MetadataRequest, produce::ProduceRequest},
    };

    use super::*;

    fn versions(min_version: i16, max_version: i16) -> Versions {
        let api = ApiVersion { api_key: ApiKey::METADATA, min_version, max_version, ..ApiVersion::default() };
        Versions::new("broker 3 (kafka-3:9092)".into(), &[api])
    }

    #[test]
    fn the_newest_version_of_both_sides_is_taken() {
        assert_eq!(versions(0, 7).newest::<MetadataRequest>().unwrap(), 7);
        let ours = *MetadataRequest::VERSIONS.end();
        assert_eq!(versions(0, i16::MAX).newest::<MetadataRequest>().unwrap(), ours);
        assert_eq!(versions(ours, ours + 5).newest::<MetadataRequest>().unwrap(), ours);
        assert_eq!(versions(0, 7).from::<MetadataRequest>(7).unwrap(), 7);
    }

    #[test]
    fn what_a_broker_lacks_is_named() {
        let refused = |versions: Versions, least| versions.from::<MetadataRequest>(least).unwrap_err();
        let error = refused(versions(0, 7), 10);
        assert_eq!(error.kind(), ErrorKind::UnsupportedVersion);
        let text = error.to_string();
        assert!(text.contains("broker 3 (kafka-3:9092) has versions 0 to 7 of Metadata"), "{text}");
        assert!(text.contains("version 10 to 13"), "{text}");
        // A broker that has come too far, and a range that makes no sense.
        assert!(versions(100, 200).newest::<MetadataRequest>().is_err());
        assert!(versions(7, 0).newest::<MetadataRequest>().is_err());
        let text = versions(0, 7).newest::<ProduceRequest>().unwrap_err().to_string();
        assert!(text.contains("does not have the API Produce"), "{text}");
    }
}
