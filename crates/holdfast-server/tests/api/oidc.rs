//! Signing in by an identity provider, with a small one of our own on loopback.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use aws_lc_rs::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair},
};
use axum::{
    Json, Router,
    body::Body,
    extract::State,
    http::{HeaderMap, Method, Request, StatusCode},
    routing::{get, post},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use url::{Url, form_urlencoded};

use crate::support::{Answer, Server};

const SECRET: &str = "canary secret";
/// `holdfast` and the secret, each encoded, as RFC 6749 wants them.
const BASIC: &str = "Basic aG9sZGZhc3Q6Y2FuYXJ5K3NlY3JldA==";
const PAGE: &str = "https://backup.example";

/// An identity provider.
#[derive(Clone)]
pub(crate) struct Provider {
    issuer: String,
    inner: Arc<Mutex<Inner>>,
}

struct Inner {
    pair: EcdsaKeyPair,
    /// What each code stands for: the challenge it was asked for with, and the claims.
    codes: BTreeMap<String, (String, Value)>,
    /// What `/userinfo` tells.
    more: Value,
}

fn pair() -> EcdsaKeyPair {
    let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
    let pkcs8 = EcdsaKeyPair::generate_pkcs8(algorithm, &SystemRandom::new()).unwrap();
    EcdsaKeyPair::from_pkcs8(algorithm, pkcs8.as_ref()).unwrap()
}

impl Provider {
    pub(crate) async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let issuer = format!("http://{}/realm", listener.local_addr().unwrap());
        let inner = Inner { pair: pair(), codes: BTreeMap::new(), more: Value::Null };
        let provider = Self { issuer, inner: Arc::new(Mutex::new(inner)) };
        let router = Router::new()
            .route("/realm/.well-known/openid-configuration", get(papers))
            .route("/realm/keys", get(keys))
            .route("/realm/token", post(token))
            .route("/realm/userinfo", get(userinfo))
            .with_state(provider.clone());
        tokio::spawn(axum::serve(listener, router).into_future());
        provider
    }

    /// Somebody signs in there: the code that their browser brings back, and the state.
    pub(crate) fn authorize(&self, url: &str, claims: &Value) -> (String, String) {
        let url: Url = url.parse().unwrap();
        assert!(url.as_str().starts_with(&format!("{}/authorize?", self.issuer)), "{url}");
        let asked: BTreeMap<String, String> = url.query_pairs().into_owned().collect();
        assert_eq!(
            (asked["response_type"].as_str(), asked["client_id"].as_str()),
            ("code", "holdfast")
        );
        assert_eq!(asked["redirect_uri"], format!("{PAGE}/sign-in/oidc"));
        assert_eq!(
            (asked["scope"].as_str(), asked["code_challenge_method"].as_str()),
            ("openid profile", "S256")
        );
        let now = jiff::Timestamp::now().as_second();
        let mut all = json!({"iss": self.issuer, "aud": "holdfast", "nonce": asked["nonce"],
            "iat": now, "exp": now + 300});
        all.as_object_mut().unwrap().extend(claims.as_object().unwrap().clone());
        let code = uuid::Uuid::new_v4().to_string();
        let mut inner = self.inner.lock().unwrap();
        inner.codes.insert(code.clone(), (asked["code_challenge"].clone(), all));
        (code, asked["state"].clone())
    }

    fn sign(&self, claims: &Value) -> String {
        let inner = self.inner.lock().unwrap();
        let header = json!({"alg": "ES256", "kid": kid(&inner.pair)});
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", part(&header), part(claims));
        let signature = inner.pair.sign(&SystemRandom::new(), signed.as_bytes()).unwrap();
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

fn kid(pair: &EcdsaKeyPair) -> String {
    URL_SAFE_NO_PAD.encode(&pair.public_key().as_ref()[1..9])
}

async fn papers(State(provider): State<Provider>) -> Json<Value> {
    let at = |path: &str| format!("{}/{path}", provider.issuer);
    Json(json!({
        "issuer": provider.issuer, "authorization_endpoint": at("authorize"),
        "token_endpoint": at("token"), "jwks_uri": at("keys"), "userinfo_endpoint": at("userinfo"),
    }))
}

async fn keys(State(provider): State<Provider>) -> Json<Value> {
    let inner = provider.inner.lock().unwrap();
    let point = inner.pair.public_key().as_ref();
    let part = |range| URL_SAFE_NO_PAD.encode(&point[range]);
    let key = json!({"kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256",
        "kid": kid(&inner.pair), "x": part(1..33), "y": part(33..65)});
    Json(json!({"keys": [{"kty": "new"}, key]}))
}

/// As strict as a provider should be: the secret, the code once, the verifier and the way back.
async fn token(
    State(provider): State<Provider>,
    headers: HeaderMap,
    body: String,
) -> Result<Json<Value>, StatusCode> {
    let asked: BTreeMap<String, String> =
        form_urlencoded::parse(body.as_bytes()).into_owned().collect();
    if headers["authorization"] != BASIC {
        return Err(StatusCode::UNAUTHORIZED);
    }
    let known = provider.inner.lock().unwrap().codes.remove(&asked["code"]);
    let (challenge, claims) = known.ok_or(StatusCode::BAD_REQUEST)?;
    let hash = URL_SAFE_NO_PAD.encode(Sha256::digest(asked["code_verifier"].as_bytes()));
    let back = asked["redirect_uri"] == format!("{PAGE}/sign-in/oidc");
    if hash != challenge || !back || asked["grant_type"] != "authorization_code" {
        return Err(StatusCode::BAD_REQUEST);
    }
    let token = provider.sign(&claims);
    Ok(Json(json!({"id_token": token, "access_token": "canary access", "token_type": "Bearer"})))
}

async fn userinfo(
    State(provider): State<Provider>,
    headers: HeaderMap,
) -> Result<Json<Value>, StatusCode> {
    let shown = headers.get("authorization").is_some_and(|it| it == "Bearer canary access");
    let more = provider.inner.lock().unwrap().more.clone();
    if shown && !more.is_null() { Ok(Json(more)) } else { Err(StatusCode::NOT_FOUND) }
}

/// A server that takes the provider's word.
struct House {
    server: Server,
    provider: Provider,
}

/// A browser at the dashboard.
#[derive(Default)]
struct Browser {
    cookies: BTreeMap<String, String>,
}

impl Browser {
    async fn ask(&mut self, server: &Server, method: Method, path: &str, body: &Value) -> Answer {
        let cookies: Vec<String> =
            self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let request = Request::builder()
            .method(method)
            .uri(format!("/api/v1{path}"))
            .header("host", "backup.example")
            .header("origin", PAGE)
            .header("cookie", cookies.join("; "))
            .header("content-type", "application/json");
        let answer = server.send(request.body(Body::from(body.to_string())).unwrap()).await;
        for cookie in answer.headers.get_all("set-cookie") {
            let cookie = cookie.to_str().unwrap();
            for word in ["__Host-", "HttpOnly", "SameSite=Strict", "Secure", "Path=/"] {
                assert!(cookie.contains(word), "{cookie}");
            }
            let (name, value) = cookie.split(';').next().unwrap().split_once('=').unwrap();
            self.cookies.insert(name.to_owned(), value.to_owned());
        }
        answer
    }

    async fn begin(&mut self, house: &House) -> String {
        let begun = self.ask(&house.server, Method::POST, "/sign-in/oidc/begin", &json!({})).await;
        begun.expect(200)["url"].as_str().unwrap().to_owned()
    }

    async fn finish(&mut self, house: &House, code: &str, state: &str) -> Answer {
        let arrival = json!({"code": code, "state": state, "iss": house.provider.issuer});
        self.ask(&house.server, Method::POST, "/sign-in/oidc", &arrival).await
    }

    /// The whole way to the provider and back.
    async fn come(&mut self, house: &House, claims: Value) -> Answer {
        let url = self.begin(house).await;
        let (code, state) = house.provider.authorize(&url, &claims);
        self.finish(house, &code, &state).await
    }

    async fn me(&mut self, house: &House) -> Answer {
        self.ask(&house.server, Method::GET, "/me", &Value::Null).await
    }
}

pub(crate) fn settings(provider: &Provider) -> Value {
    json!({
        "issuer": provider.issuer, "client_id": "holdfast", "client_secret": SECRET,
        "page_url": format!("{PAGE}/"), "label": "Example ID",
        "roles": [
            {"value": "chiefs", "role": "admin"},
            {"value": "ops", "role": "operator", "host_groups": ["dmz"]},
        ],
    })
}

pub(crate) fn claims(subject: &str, name: &str, groups: &[&str]) -> Value {
    json!({"sub": subject, "preferred_username": name, "groups": groups})
}

impl House {
    async fn open() -> Self {
        let (server, provider) = (Server::start().await, Provider::start().await);
        server.put("/oidc", &settings(&provider)).await.expect(200);
        Self { server, provider }
    }

    async fn entries(&self, action: &str) -> Vec<Value> {
        let page = self.server.get(&format!("/audit?limit=500&action={action}")).await.expect(200);
        page["entries"].as_array().unwrap().clone()
    }
}

#[tokio::test]
async fn whoever_the_provider_vouches_for_comes_in_with_the_role_of_their_group() {
    let house = House::open().await;
    let mut browser = Browser::default();
    let ways = browser.ask(&house.server, Method::GET, "/sign-in", &Value::Null).await;
    assert_eq!(ways.expect(200), json!({"oidc": {"label": "Example ID"}}));
    let came = browser.come(&house, claims("7", "Alice@Example", &["x", "ops"])).await;
    let alice = json!({"name": "alice-example", "kind": "user", "role": "operator",
        "host_groups": ["dmz"]});
    assert_eq!(came.expect(200), alice);
    assert_eq!(browser.me(&house).await.expect(200), alice);
    assert_eq!(browser.cookies["__Host-holdfast_oidc"], "", "the flow is used up");
    let users = house.server.get("/users").await.expect(200);
    assert_eq!(users["users"][0]["single_sign_on"], true, "{users}");
    let entries = house.entries("sign_in").await;
    assert_eq!(
        (&entries[0]["actor"], &entries[0]["after"]["by"]),
        (&json!("alice-example"), &json!("oidc"))
    );

    // The provider says each time what somebody may do; a name there may change, the person stays.
    let mut second = Browser::default();
    let came = second.come(&house, claims("7", "alice-renamed", &["chiefs"])).await.expect(200);
    assert_eq!((&came["name"], &came["role"]), (&json!("alice-example"), &json!("admin")));
    assert_eq!(came["host_groups"], json!(["*"]));
    browser.me(&house).await.expect_problem(401, "invalid_token");
    let change = &house.entries("user.change").await[0];
    assert_eq!(
        (&change["before"]["role"], &change["after"]["role"]),
        (&json!("operator"), &json!("admin"))
    );
    let came = second.come(&house, claims("7", "alice", &["chiefs"])).await;
    came.expect(200);
    assert_eq!(house.entries("user").await.len(), 2, "made once, changed once");
}

#[tokio::test]
async fn whose_groups_have_no_role_stays_outside_and_is_told_so() {
    let house = House::open().await;
    let mut browser = Browser::default();
    for groups in [&[][..], &["staff"], &["Chiefs"]] {
        let came = browser.come(&house, claims("8", "eve", groups)).await;
        came.expect_problem(403, "oidc_unmapped");
    }
    let nameless = json!({"sub": "8", "groups": ["ops"]});
    browser.come(&house, nameless).await.expect_problem(403, "oidc_unnamed");
    browser.me(&house).await.expect_problem(401, "invalid_token");
    assert_eq!(house.server.get("/users").await.expect(200), json!({"users": []}));
    let refused = house.entries("sign_in.refused").await;
    assert_eq!((refused.len(), &refused[1]["subject"]), (4, &json!("eve")));
    // Who had a role and has none any more does not come in again.
    browser.come(&house, claims("9", "bob", &["ops"])).await.expect(200);
    let mut later = Browser::default();
    later.come(&house, claims("9", "bob", &[])).await.expect_problem(403, "oidc_unmapped");
}

#[tokio::test]
async fn groups_that_the_provider_tells_only_when_asked_count_for_the_same_person() {
    let house = House::open().await;
    let more = |more: Value| house.provider.inner.lock().unwrap().more = more;
    let bare = json!({"sub": "7", "preferred_username": "alice"});
    more(json!({"sub": "7", "groups": ["ops"], "preferred_username": "mallory"}));
    let came = Browser::default().come(&house, bare.clone()).await.expect(200);
    assert_eq!((&came["name"], &came["role"]), (&json!("alice"), &json!("operator")));
    more(json!({"sub": "8", "groups": ["chiefs"]}));
    let came = Browser::default().come(&house, bare).await;
    came.expect_problem(401, "oidc_refused");
}

#[tokio::test]
async fn a_name_that_is_somebodys_here_stays_theirs() {
    let house = House::open().await;
    let password = "a long enough password";
    let local = json!({"name": "root", "role": "admin", "password": password});
    house.server.post("/users", &local).await.expect(201);
    let came = Browser::default().come(&house, claims("7", "Root", &["ops"])).await;
    came.expect_problem(409, "oidc_name_taken");
    // Nor is the name of somebody whom the provider vouched for given to another of its people.
    Browser::default().come(&house, claims("7", "alice", &["ops"])).await.expect(200);
    let came = Browser::default().come(&house, claims("8", "alice", &["chiefs"])).await;
    came.expect_problem(409, "oidc_name_taken");
    assert_eq!(house.entries("sign_in.refused").await.len(), 2);
    house.server.sign_in(&json!({"name": "root", "password": password})).await;
}

#[tokio::test]
async fn the_provider_alone_decides_about_its_people_and_an_admin_keeps_them_out() {
    let house = House::open().await;
    let mut browser = Browser::default();
    browser.come(&house, claims("7", "alice", &["ops"])).await.expect(200);
    for change in [
        json!({"role": "admin"}),
        json!({"host_groups": ["*"]}),
        json!({"password": "a long enough password"}),
    ] {
        let changed = house.server.patch("/users/alice", &change).await;
        changed.expect_problem(409, "user_of_provider");
    }
    let offer = browser.ask(&house.server, Method::POST, "/me/totp", &json!({})).await;
    offer.expect_problem(400, "not_a_user");
    for password in ["", "a long enough password"] {
        let guess = json!({"name": "alice", "password": password});
        let came = house.server.ask(Method::POST, "/sign-in", None, Some(&guess)).await;
        came.expect_problem(401, "invalid_credentials");
    }
    house.server.patch("/users/alice", &json!({"disabled": true})).await.expect(200);
    browser.me(&house).await.expect_problem(401, "invalid_token");
    let came = browser.come(&house, claims("7", "alice", &["chiefs"])).await;
    came.expect_problem(403, "user_disabled");
    assert_eq!(house.server.get("/users").await.expect(200)["users"][0]["role"], "operator");
}

#[tokio::test]
async fn what_was_not_begun_by_this_browser_is_not_finished() {
    let house = House::open().await;
    let alice = || claims("7", "alice", &["ops"]);
    let (mut victim, mut thief) = (Browser::default(), Browser::default());
    let url = thief.begin(&house).await;
    let (code, state) = house.provider.authorize(&url, &alice());
    // The thief's own code in the victim's browser would have them work under the thief's name.
    victim.finish(&house, &code, &state).await.expect_problem(400, "oidc_expired");
    victim.begin(&house).await;
    victim.finish(&house, &code, &state).await.expect_problem(400, "oidc_expired");
    thief.finish(&house, &code, "another state").await.expect_problem(400, "oidc_expired");
    let other = json!({"code": code, "state": state, "iss": "https://evil.example"});
    let mixed = thief.ask(&house.server, Method::POST, "/sign-in/oidc", &other).await;
    mixed.expect_problem(401, "oidc_refused");
    // A stolen code alone is worth nothing: the verifier does not fit.
    let url = victim.begin(&house).await;
    let (code, _) = house.provider.authorize(&url, &alice());
    let url = thief.begin(&house).await;
    let (_, state) = house.provider.authorize(&url, &alice());
    thief.finish(&house, &code, &state).await.expect_problem(401, "oidc_refused");
    // And one that was used does not work again.
    let url = victim.begin(&house).await;
    let (code, state) = house.provider.authorize(&url, &alice());
    let cookies = victim.cookies.clone();
    victim.finish(&house, &code, &state).await.expect(200);
    victim.cookies = cookies;
    victim.finish(&house, &code, &state).await.expect_problem(401, "oidc_refused");
}

#[tokio::test]
async fn another_sites_page_begins_and_finishes_nothing() {
    let house = House::open().await;
    for path in ["/sign-in/oidc/begin", "/sign-in/oidc"] {
        let request = Request::post(format!("/api/v1{path}"))
            .header("host", "backup.example")
            .header("origin", "https://evil.example")
            .header("content-type", "application/json")
            .body(Body::from(r#"{"code":"c","state":"s"}"#))
            .unwrap();
        house.server.send(request).await.expect_problem(403, "other_origin");
    }
}

#[tokio::test]
async fn a_token_for_somebody_else_or_of_another_key_does_not_count() {
    let house = House::open().await;
    for (claim, value) in [
        ("iss", json!("https://evil.example")),
        ("aud", json!("other")),
        ("nonce", json!("other")),
        ("exp", json!(1)),
        ("sub", json!("")),
    ] {
        let mut claims = claims("7", "alice", &["chiefs"]);
        claims[claim] = value;
        let came = Browser::default().come(&house, claims).await;
        came.expect_problem(401, "oidc_refused");
    }
    // The provider changes its keys while somebody is there: they are read again.
    let mut browser = Browser::default();
    let url = browser.begin(&house).await;
    house.provider.inner.lock().unwrap().pair = pair();
    let (code, state) = house.provider.authorize(&url, &claims("7", "alice", &["ops"]));
    browser.finish(&house, &code, &state).await.expect(200);
}

#[tokio::test]
async fn settings_are_checked_and_their_secret_is_never_told() {
    let (server, provider) = (Server::start().await, Provider::start().await);
    let nobody = server.ask(Method::GET, "/sign-in", None, None).await;
    assert_eq!(nobody.expect(200), json!({}));
    for (method, path) in [(Method::GET, "/oidc"), (Method::DELETE, "/oidc")] {
        server.ask(method, path, Some(&server.admin), None).await.expect_problem(404, "oidc_off");
    }
    let begun = server.ask(Method::POST, "/sign-in/oidc/begin", None, Some(&json!({}))).await;
    begun.expect_problem(404, "oidc_off");
    let put = async |change: Value| {
        let mut wish = settings(&provider);
        wish.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        server.put("/oidc", &wish).await
    };
    for (change, code) in [
        (json!({"issuer": "http://id.example"}), "invalid_oidc"),
        (json!({"issuer": "https://u:p@id.example"}), "invalid_oidc"),
        (json!({"issuer": "x"}), "invalid_oidc"),
        (json!({"page_url": "http://backup.example"}), "invalid_oidc"),
        (json!({"page_url": "https://backup.example/below"}), "invalid_oidc"),
        (json!({"client_id": " "}), "invalid_oidc"),
        (json!({"roles": []}), "invalid_oidc"),
        (
            json!({"roles": [{"value": "a", "role": "admin", "host_groups": []}]}),
            "invalid_host_groups",
        ),
        (json!({"scopes": ["a b"]}), "invalid_oidc"),
        (json!({"secret": "x"}), "invalid_body"),
    ] {
        put(change.clone()).await.expect_problem(400, code);
    }
    let closed = json!({"issuer": "http://127.0.0.1:9/realm"});
    put(closed).await.expect_problem(502, "oidc_unreachable");
    let other_name = json!({"issuer": provider.issuer.replace("/realm", "/realm/")});
    put(other_name).await.expect_problem(502, "oidc_unfit");
}

#[tokio::test]
async fn a_stored_secret_stays_with_its_issuer_and_ends_with_the_settings() {
    let house = House::open().await;
    let mut browser = Browser::default();
    browser.come(&house, claims("7", "alice", &["ops"])).await.expect(200);
    let mut wish = settings(&house.provider);
    wish.as_object_mut().unwrap().remove("client_secret");
    wish["label"] = json!("Renamed");
    let view = house.server.put("/oidc", &wish).await.expect(200);
    assert_eq!((&view["has_client_secret"], &view["label"]), (&json!(true), &json!("Renamed")));
    assert_eq!(view["redirect_url"], format!("{PAGE}/sign-in/oidc"));
    browser.me(&house).await.expect_problem(401, "invalid_token");
    browser.come(&house, claims("7", "alice", &["ops"])).await.expect(200);
    let other = Provider::start().await;
    wish["issuer"] = json!(other.issuer);
    house.server.put("/oidc", &wish).await.expect_problem(400, "invalid_oidc");

    house.server.delete("/oidc").await.expect(204);
    browser.me(&house).await.expect_problem(401, "invalid_token");
    let begun = browser.ask(&house.server, Method::POST, "/sign-in/oidc/begin", &json!({})).await;
    begun.expect_problem(404, "oidc_off");
    let told = house.server.get("/audit?limit=500").await.text;
    assert!(told.contains("oidc.clear") && !told.contains("canary"), "{told}");
    house.server.store.close().await;
    for file in std::fs::read_dir(house.server.dir.path()).unwrap() {
        let bytes = std::fs::read(file.unwrap().path()).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        assert!(!text.contains("canary"), "a secret of the provider is on the disk");
    }
}

#[tokio::test]
async fn an_admin_by_the_providers_word_is_not_the_last_one() {
    let house = House::open().await;
    let mut browser = Browser::default();
    browser.come(&house, claims("7", "alice", &["chiefs"])).await.expect(200);
    let root = json!({"name": "root", "role": "admin", "password": "a long enough password"});
    house.server.post("/users", &root).await.expect(201);
    let taken =
        browser.ask(&house.server, Method::DELETE, "/tokens/admin-token", &Value::Null).await;
    taken.expect(204);
    // One day the provider may be away: somebody must still be able to come in.
    let taken = browser.ask(&house.server, Method::DELETE, "/users/root", &Value::Null).await;
    taken.expect_problem(409, "last_admin");
}
