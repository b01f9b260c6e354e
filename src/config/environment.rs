//! What the environment sets, over what the file has.

use super::places::Places;
use super::{ConfigError, tables, unknown, wrong};
use toml::{Table, Value};

/// `TOKENIST_PROXY_LISTEN` sets `proxy.listen`; `TOKENIST_PROVIDER_…` sets the first provider's key. Variables that
/// begin otherwise are not ours: orchestrators invent some with our name in front.
pub(super) fn override_by(
    table: &mut Table,
    environment: impl IntoIterator<Item = (String, String)>,
    schema: &Table,
    places: &mut Places,
) -> Result<(), ConfigError> {
    for (name, text) in environment {
        let Some((section, key)) = name.strip_prefix("TOKENIST_").and_then(|rest| rest.split_once('_'))
        else {
            continue;
        };
        let (section, key) = (section.to_lowercase(), key.to_lowercase());
        let Some(known) = schema.get(&section) else {
            refuse_misspelt(&name, &section, &key, schema)?;
            continue;
        };
        let known = tables(known).next().expect("the schema has one of each");
        let Some(default) = known.get(&key) else {
            let names = known
                .keys()
                .map(|key| format!("TOKENIST_{section}_{key}").to_uppercase())
                .collect::<Vec<_>>();
            return Err(wrong(&name, unknown("key", &name, names.iter())));
        };
        let value = read_as(default, &text).map_err(|what| wrong(&name, what))?;
        let slot = match schema.get(&section) {
            Some(Value::Array(_)) => {
                let providers = table.entry(&section).or_insert_with(|| Value::Array(Vec::new()));
                let providers = providers.as_array_mut().expect("checked above");
                if providers.is_empty() {
                    providers.push(Value::Table(Table::new()));
                }
                providers[0].as_table_mut()
            }
            _ => table.entry(&section).or_insert_with(|| Value::Table(Table::new())).as_table_mut(),
        };
        places.note(&section, 0, &key, name);
        slot.expect("checked above").insert(key, value);
    }
    Ok(())
}

/// A section that there is none of is another program's, unless one almost of its name has the key.
fn refuse_misspelt(name: &str, section: &str, key: &str, schema: &Table) -> Result<(), ConfigError> {
    let has_key = |known: &Value| match known {
        Value::Array(tables) => tables.iter().any(|table| table.get(key).is_some()),
        known => known.get(key).is_some(),
    };
    let alike =
        schema.iter().find(|(known, value)| strsim::jaro_winkler(known, section) > 0.9 && has_key(value));
    let meant = alike.map(|(known, _)| format!("TOKENIST_{known}_{key}").to_uppercase());
    meant.map_or(Ok(()), |meant| Err(wrong(name, unknown("key", name, [meant].iter()))))
}

fn read_as(default: &Value, text: &str) -> Result<Value, String> {
    match default {
        Value::Integer(_) => {
            text.parse().map(Value::Integer).map_err(|_| format!("{text:?} is not a whole number"))
        }
        Value::Float(_) => text.parse().map(Value::Float).map_err(|_| format!("{text:?} is not a number")),
        Value::Boolean(_) => {
            text.parse().map(Value::Boolean).map_err(|_| format!("{text:?} is not true or false"))
        }
        _ => Ok(Value::String(text.into())),
    }
}
