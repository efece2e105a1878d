//! Who we say we are, by name and password.

use crate::{
    model::Text,
    util::{
        secret::Secret,
        yaml::{Section, Value},
    },
};

/// A user of a registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Login {
    /// The name.
    pub username: Text,
    /// The password.
    pub password: Secret,
}

impl Login {
    /// Reads, from a registry's own section, `username` and `password`: both or neither.
    pub fn read(section: &mut Section<'_>) -> Option<Option<Self>> {
        let given = section.has("username") || section.has("password");
        let username = section.get("username", Value::string);
        let password = section.get("password", Value::secret);
        match (username, password) {
            (Some(username), Some(password)) => Some(Some(Login { username: username.into(), password })),
            _ if given => section.value().problem("`username` and `password` go together"),
            _ => Some(None),
        }
    }
}
