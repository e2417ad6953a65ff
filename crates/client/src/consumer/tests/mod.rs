//! The state of a consumer, with brokers that are made up.
