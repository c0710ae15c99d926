//! Who somebody is here, by what the provider says of them. Pure.

use serde_json::Value;

use crate::{
    auth::Role,
    view::{OidcRole, OidcSettings},
};

/// Somebody whom the provider vouches for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Visitor {
    /// The provider and whom it means: never reused, unlike a name.
    pub(crate) subject: String,
    /// The name here.
    pub(crate) name: String,
    pub(crate) role: Role,
    pub(crate) host_groups: Vec<String>,
}

/// Why somebody whom the provider vouches for stays outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stranger {
    /// None of the claim's values gives a role.
    NoRole,
    /// There is no name, or none that can be one here.
    NoName,
}

/// As long as a name may be.
const NAME_MAX: usize = 63;
/// More values than this nobody is in.
const VALUES_MAX: usize = 10_000;

/// Who the claims are about.
///
/// # Errors
/// [`Stranger`].
pub(crate) fn visitor(claims: &Value, settings: &OidcSettings) -> Result<Visitor, Stranger> {
    let given = find(claims, &settings.role_claim).map(values).unwrap_or_default();
    let fits = |rule: &&OidcRole| given.contains(&rule.value.as_str());
    let rule = settings.roles.iter().find(fits).ok_or(Stranger::NoRole)?;
    let name = find(claims, &settings.name_claim).and_then(Value::as_str);
    let subject = claims["sub"].as_str().unwrap_or_default();
    Ok(Visitor {
        // No issuer has a space in it.
        subject: format!("{} {subject}", settings.issuer),
        name: name.and_then(plain).ok_or(Stranger::NoName)?,
        role: rule.role,
        host_groups: rule.host_groups.clone(),
    })
}

/// The claim with this name, or at this path.
pub(super) fn find<'a>(claims: &'a Value, name: &str) -> Option<&'a Value> {
    // Names may be addresses, and those have dots in them too.
    let found = claims
        .get(name)
        .or_else(|| name.split('.').try_fold(claims, |inside, part| inside.as_object()?.get(part)));
    found.filter(|found| !found.is_null())
}

fn values(claim: &Value) -> Vec<&str> {
    match claim {
        Value::String(one) => vec![one],
        Value::Array(several) => {
            several.iter().take(VALUES_MAX).filter_map(Value::as_str).collect()
        }
        _ => Vec::new(),
    }
}

/// The provider's name for somebody in the letters that names have here. Two that become the same
/// do not become one user: who comes second is turned away.
fn plain(name: &str) -> Option<String> {
    let letter = |letter: char| match letter.to_ascii_lowercase() {
        letter if letter.is_ascii_alphanumeric() || "._-".contains(letter) => letter,
        _ => '-',
    };
    let name: String = name.chars().map(letter).collect();
    let name = name.trim_start_matches(['.', '_', '-']);
    let fits = !name.is_empty() && name.len() <= NAME_MAX && uuid::Uuid::try_parse(name).is_err();
    fits.then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn settings() -> OidcSettings {
        let rule = |value: &str, role, groups: &[&str]| OidcRole {
            value: value.to_owned(),
            role,
            host_groups: groups.iter().map(|group| (*group).to_owned()).collect(),
        };
        OidcSettings {
            issuer: "https://id.example".to_owned(),
            client_id: "holdfast".to_owned(),
            page_url: "https://backup.example".to_owned(),
            label: "SSO".to_owned(),
            scopes: Vec::new(),
            name_claim: "preferred_username".to_owned(),
            role_claim: "realm_access.roles".to_owned(),
            roles: vec![rule("chiefs", Role::Admin, &["*"]), rule("ops", Role::Operator, &["dmz"])],
        }
    }

    fn of(roles: &Value, name: &Value) -> Result<Visitor, Stranger> {
        let claims =
            json!({"sub": "7", "preferred_username": name, "realm_access": {"roles": roles}});
        visitor(&claims, &settings())
    }

    #[test]
    fn the_first_role_that_fits_counts_and_without_one_nobody_comes_in() {
        let alice = of(&json!(["x", "ops", "chiefs"]), &json!("Alice")).unwrap();
        assert_eq!((alice.role, alice.name.as_str()), (Role::Admin, "alice"));
        assert_eq!(alice.subject, "https://id.example 7");
        let bob = of(&json!("ops"), &json!("bob")).unwrap();
        assert_eq!((bob.role, bob.host_groups), (Role::Operator, vec!["dmz".to_owned()]));
        for none in [json!([]), json!(["Chiefs", "chief"]), json!({"chiefs": true}), json!(null)] {
            assert_eq!(of(&none, &json!("eve")), Err(Stranger::NoRole));
        }
    }

    #[test]
    fn a_name_is_written_as_names_are_here() {
        let name = |text: &str| of(&json!("ops"), &json!(text)).map(|visitor| visitor.name);
        assert_eq!(name("Alice@Corp.Example").unwrap(), "alice-corp.example");
        assert_eq!(name("__Zoë").unwrap(), "zo-");
        for none in ["", "..", &"x".repeat(64), "0190b5f2-7c3e-7d0a-9a51-3f6f0c1d2e4b"] {
            assert_eq!(name(none), Err(Stranger::NoName), "{none}");
        }
        assert_eq!(of(&json!("ops"), &json!(7)), Err(Stranger::NoName));
    }

    #[test]
    fn a_claim_is_found_by_its_name_or_its_path() {
        let claims = json!({"https://x.example/groups": ["a"], "a": {"b": {"c": 1}}, "n": null});
        assert!(find(&claims, "https://x.example/groups").is_some());
        assert_eq!(find(&claims, "a.b.c"), Some(&json!(1)));
        assert_eq!(
            (find(&claims, "a.x"), find(&claims, "a.b.c.d"), find(&claims, "n")),
            (None, None, None)
        );
    }
}
