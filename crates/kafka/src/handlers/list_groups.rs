//! ListGroups (16), versions 0 to 5: the groups there are, of both protocols. From version 4 on only those in some
//! states may be asked for (KIP-518), and from version 5 on only those of some types (KIP-848); neither filter looks
//! at upper and lower case, and what it names and nobody knows is passed over.

use ottla_engine::groups::GroupOverview;
use ottla_protocol::{
    EncodeError, ErrorCode, Str,
    messages::list_groups::{ListGroupsRequest, ListGroupsResponse, ListedGroup},
};
use ottla_storage::Storage;

use super::groups::code;
use crate::{
    context::{Call, Context},
    reply::{Frame, Reply, frame},
};

pub(crate) fn handle<S: Storage>(context: &Context<S>, call: Call, request: ListGroupsRequest) -> Reply {
    let context = context.clone();
    Reply::Later(Box::pin(answer(context, call, request)))
}

async fn answer<S: Storage>(
    context: Context<S>,
    call: Call,
    request: ListGroupsRequest,
) -> Result<Frame, EncodeError> {
    let response = match context.groups.list().await {
        Ok(groups) => {
            let wanted = |group: &GroupOverview| {
                passes(&request.states_filter, group.state)
                    && passes(&request.types_filter, group.kind.name())
            };
            ListGroupsResponse {
                groups: groups.into_iter().filter(wanted).map(listed).collect(),
                ..ListGroupsResponse::default()
            }
        }
        Err(error) => ListGroupsResponse {
            error_code: match code(context.broker(), "listing groups", &error) {
                // No coordinator was looked for: Java's admin client tries again after this one alone.
                ErrorCode::NOT_COORDINATOR => ErrorCode::COORDINATOR_NOT_AVAILABLE,
                code => code,
            },
            ..ListGroupsResponse::default()
        },
    };
    frame(call.correlation_id, call.version, &response)
}

fn passes(filter: &[Str], name: &str) -> bool {
    filter.is_empty() || filter.iter().any(|wanted| wanted.trim().eq_ignore_ascii_case(name))
}

fn listed(group: GroupOverview) -> ListedGroup {
    ListedGroup {
        group_id: Str::from(&*group.id),
        protocol_type: group.protocol_type.into(),
        group_state: Str::from_static(group.state),
        group_type: Str::from_static(group.kind.name()),
        ..ListedGroup::default()
    }
}
