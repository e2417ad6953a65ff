//! How to use it, page by page.
//!
//! | page | what it tells |
//! |---|---|
//! | [`producing`] | sending records, one at a time and many, and what to do with what fails |
//! | [`consuming`] | reading partitions, positions, and memory |
//! | [`outages`] | what happens while brokers are away, and what can be relied on |
//! | [`coming_over`] | what things are called here, for those who come from sarama, rdkafka or Java's client |
//!
//! Every setting with its default, and why that is the default, is in [`config`](crate::config).

#[doc = include_str!("producing.md")]
pub mod producing {}

#[doc = include_str!("consuming.md")]
pub mod consuming {}

#[doc = include_str!("outages.md")]
pub mod outages {}

#[doc = include_str!("coming_over.md")]
pub mod coming_over {}
