//! Every route with its documentation, as one router and one OpenAPI document.

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::StatusCode;
use axum::middleware;
use tower::Layer;
use tower_http::normalize_path::NormalizePathLayer;
use utoipa::openapi::path::Operation;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityRequirement, SecurityScheme};

use utoipa::openapi::{
    Components, ContactBuilder, Content, InfoBuilder, OpenApi, OpenApiBuilder, Ref, ResponseBuilder,
};
use utoipa_axum::router::OpenApiRouter;

use super::error::ErrorBody;
use super::{AdminState, ApiError, api, columns, guard, metrics, trace};

/// The HTTP API of a broker, as a service.
pub fn router(state: AdminState) -> Router {
    let (router, _) = all().split_for_parts();
    let router = router
        .fallback(nothing_there)
        .method_not_allowed_fallback(not_that_way)
        .layer(DefaultBodyLimit::max(state.settings.management.body_max.as_usize()))
        .layer(middleware::from_fn_with_state(state.clone(), columns::columns))
        .layer(middleware::from_fn_with_state(state.clone(), guard::guard))
        .layer(middleware::from_fn(trace::trace))
        .with_state(state);
    // RabbitMQ overlooks a slash at the end, and Flower writes one. Around the router: inside, the route is chosen already.
    Router::new().fallback_service(NormalizePathLayer::trim_trailing_slash().layer(router))
}

/// The OpenAPI document of all routes.
pub fn document() -> OpenApi {
    let mut document = all().to_openapi();
    // Handlers of one name in several files are several operations.
    for (path, item) in &mut document.paths.paths {
        let operations = [
            ("get", &mut item.get),
            ("put", &mut item.put),
            ("post", &mut item.post),
            ("delete", &mut item.delete),
        ];
        for (method, operation) in operations {
            if let Some(operation) = operation {
                operation.operation_id = Some(format!("{method} {path}"));
                add_refusals(operation);
            }
        }
    }
    document
}

/// What every request may be refused with, whatever it asks for: nobody has to write it down for each route.
const REFUSALS: [(StatusCode, &str); 4] = [
    (StatusCode::BAD_REQUEST, "A name or a parameter cannot be read"),
    (StatusCode::UNAUTHORIZED, "Nobody is logged in, or whoever is may not do this"),
    (StatusCode::FORBIDDEN, "It comes from a page of another site"),
    (StatusCode::REQUEST_TIMEOUT, "It took longer than `management.request_timeout`"),
];

fn add_refusals(operation: &mut Operation) {
    let body = operation.request_body.as_ref();
    let body = body.map(|_| (StatusCode::PAYLOAD_TOO_LARGE, "Its body is longer than `management.body_max`"));
    for (status, description) in REFUSALS.into_iter().chain(body) {
        let told = ResponseBuilder::new().description(description);
        let told = told.content("application/json", Content::new(Some(Ref::from_schema_name("ErrorBody"))));
        let responses = &mut operation.responses.responses;
        responses.entry(status.as_str().to_owned()).or_insert_with(|| told.build().into());
    }
}

fn all() -> OpenApiRouter<AdminState> {
    let information = InfoBuilder::new()
        .title("Rialto HTTP API")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some("RabbitMQ's HTTP API, as far as its tools use it, and Rialto's own."))
        .contact(Some(ContactBuilder::new().name(Some("Rialto")).build()));
    let mut components = Components::new();
    components.add_security_scheme("basic", SecurityScheme::Http(Http::new(HttpAuthScheme::Basic)));
    components.schemas.insert("ErrorBody".to_owned(), <ErrorBody as utoipa::PartialSchema>::schema());
    let document = OpenApiBuilder::new()
        .info(information.build())
        .components(Some(components))
        .security(Some([SecurityRequirement::new("basic", Vec::<String>::new())]))
        .build();
    OpenApiRouter::with_openapi(document).merge(api::routes()).merge(metrics::routes())
}

async fn nothing_there() -> ApiError {
    ApiError::not_found()
}

async fn not_that_way() -> ApiError {
    let reason = "this address exists and does not answer this method; see the Allow header";
    ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", reason)
}
