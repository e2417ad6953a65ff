//! Names and numbers of groups and their members.

use std::{borrow::Borrow, fmt, sync::Arc};

/// Defines a newtype over a shared text.
macro_rules! text {
    ($(#[$meta:meta])* $name:ident) => {
        $(#[$meta])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The text as it is in the protocol.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self(text.into())
            }
        }

        impl From<Arc<str>> for $name {
            fn from(text: Arc<str>) -> Self {
                Self(text)
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

text! {
    /// The name of a group.
    GroupId
}

text! {
    /// The name of a member within its group: given by the broker in the classic protocol, and made by the
    /// member itself in KIP-848 (from version 1 of its heartbeat on).
    MemberId
}

text! {
    /// The name that a static member keeps over its restarts (`group.instance.id`, KIP-345).
    InstanceId
}

/// Defines a newtype over a counter.
macro_rules! counter {
    ($(#[$meta:meta])* $name:ident) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub i32);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

counter! {
    /// How often a classic group has been rebalanced: 0 for a group that never was.
    Generation
}

counter! {
    /// How often what a KIP-848 group must be assigned has changed: its members, subscriptions or topics.
    GroupEpoch
}

counter! {
    /// The epoch of the target assignment that a member of a KIP-848 group has come to. In a heartbeat 0 joins,
    /// [`MemberEpoch::LEAVES`] leaves, and [`MemberEpoch::LEAVES_FOR_NOW`] leaves as a static member that
    /// means to be back.
    MemberEpoch
}

impl MemberEpoch {
    /// The member joins.
    pub const JOINS: Self = Self(0);
    /// The member leaves.
    pub const LEAVES: Self = Self(-1);
    /// A static member leaves and keeps its place until its session ends.
    pub const LEAVES_FOR_NOW: Self = Self(-2);
}
