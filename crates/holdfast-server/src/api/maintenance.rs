//! When repositories are kept in order.

use axum::{Json, extract::State};
use holdfast_protocol::message::job::Operation;
use serde::Deserialize;
use serde_json::Value;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    AppState,
    extract::{Body, Segments},
    parameters,
    problem::{Problem, ProblemBody},
    schedules::{self, refused},
    validate::shown,
};
use crate::{
    auth::{Access, Principal, Role},
    openapi,
    store::{MAINTENANCE_KINDS, NewMaintenance},
    view::{Calendar, RepositoryDetailView, WindowView},
};

/// When an operation keeps a repository in order.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct SetMaintenance {
    /// Five fields: minute, hour, day of month, month, day of week.
    cron: String,
    /// IANA name of the zone the expression and the window are read in.
    time_zone: String,
    /// Whether it fires. What is switched off is kept.
    enabled: bool,
    /// The only time of the day in which it may start; outside it what is due waits.
    window: Option<WindowView>,
    /// How to do it, as for a job of the operation. `forget` has none: it goes by the rules of the
    /// source groups.
    #[schema(value_type = Option<Object>)]
    parameters: Option<Value>,
}

pub(super) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(openapi::routes(Access::Role(Role::Admin), routes!(set)))
}

/// Sets when `forget`, `prune` or `check` keeps the repository in order.
///
/// The server orders it from one host: the one that was named for it, or that alone may delete;
/// else one that is connected and uses the repository. What was due while no such host was
/// connected, or while the server was away, is made up for once.
#[utoipa::path(put, path = "/repositories/{repository}/maintenance/{operation}",
    tag = "repositories", operation_id = "set_maintenance",
    params(("repository" = String, Path, description = "Name or id"),
        ("operation" = String, Path, description = "`forget`, `prune` or `check`")),
    request_body = SetMaintenance,
    responses((status = 200, body = RepositoryDetailView),
        (status = 400, body = ProblemBody, description = "`unknown_maintenance`, \
            `invalid_schedule` or `invalid_parameters`"),
        (status = 404, body = ProblemBody, description = "`repository_not_found`")))]
async fn set(
    State(state): State<AppState>,
    principal: Principal,
    Segments((repository, operation)): Segments<(String, String)>,
    Body(wish): Body<SetMaintenance>,
) -> Result<Json<RepositoryDetailView>, Problem> {
    let operation = read_operation(&operation)?;
    let repository = state.store.find_repository(&repository).await?;
    Calendar::parse(&wish.cron, &wish.time_zone, state.store.now())
        .map_err(|error| refused(&error))?;
    let plan = NewMaintenance {
        window: schedules::window(wish.window.as_ref())?,
        parameters: read_parameters(operation, wish.parameters)?,
        cron: wish.cron,
        time_zone: wish.time_zone,
        enabled: wish.enabled,
    };
    state.store.set_maintenance(&principal.name, repository, operation, &plan).await?;
    Ok(Json(state.store.repository(repository).await?))
}

fn read_operation(word: &str) -> Result<Operation, Problem> {
    let known = Operation::from_word(word).filter(|it| MAINTENANCE_KINDS.contains(it));
    known.ok_or_else(|| {
        Problem::invalid(
            "unknown_maintenance",
            format!("`{}` does not keep a repository in order.", shown(word)),
            "Use `forget`, `prune` or `check`.",
        )
    })
}

fn read_parameters(
    operation: Operation,
    asked: Option<Value>,
) -> Result<Option<parameters::Parameters>, Problem> {
    let said = asked.as_ref().is_some_and(|asked| !asked.is_null());
    if operation == Operation::Forget {
        if said {
            return Err(parameters::invalid("`forget` goes by the source groups' rules"));
        }
        return Ok(None);
    }
    parameters::read(operation, asked)
}
