//! What comes in: ids, bodies and heads are read in one way, and each operation opens to those whom it is declared for.

mod access;
mod bodies;
mod heads;
mod ids;
#[path = "../kit/mod.rs"]
mod kit;

use serde_json::Value;

fn description() -> Value {
    serde_json::from_str(tokenist_admin::openapi_json()).expect("the description is JSON")
}

/// Each operation that is described: its method, its path with values for what stands in braces, and what is said of it.
fn operations(description: &Value) -> Vec<(String, String, &Value)> {
    let paths = description["paths"].as_object().expect("paths");
    let operations = paths.iter().flat_map(|(path, item)| {
        let path = path.replace("{kind}", "user").replace("{org}", "acme").replace("{id}", "some");
        let item = item.as_object().expect("operations").iter();
        item.map(move |(method, operation)| (method.to_uppercase(), path.clone(), operation))
    });
    operations.collect()
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_else(|| panic!("{name} is no text in {value}"))
}
