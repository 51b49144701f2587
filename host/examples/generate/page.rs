//! The API's reference page: plain HTML from the OpenAPI document, without scripts or anything from elsewhere.

use serde_json::Value;
use std::fmt::Write as _;

const STYLE: &str = "\
:root{color-scheme:light dark}body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}\
code,pre{font-family:ui-monospace,monospace;font-size:.92em}h2{margin-top:2.5rem;border-bottom:1px solid #8885;padding-bottom:.3rem}\
h3{margin-top:2rem}table{border-collapse:collapse;width:100%;margin:.5rem 0}th,td{text-align:left;vertical-align:top;padding:.3rem .6rem;\
border-bottom:1px solid #8883}.method{font-weight:700;color:#0a7}nav ul{columns:2;padding-left:1.2rem}.table{overflow-x:auto}";

/// The page for an OpenAPI document.
pub(crate) fn render(document: &Value) -> String {
    let mut page = String::new();
    let info = &document["info"];
    let title = text(&info["title"]);
    // Writing to a String cannot fail.
    let _ = write!(
        page,
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>{title} API</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<h1>{title} API</h1>\n\
         <p>Version {}. {}</p>\n<p>For machines: <a href=\"openapi.json\">openapi.json</a>.</p>\n",
        text(&info["version"]),
        text(&info["description"])
    );
    contents(&mut page, document);
    for tag in document["tags"].as_array().into_iter().flatten() {
        let name = tag["name"].as_str().unwrap_or_default();
        let _ = writeln!(page, "<h2>{}</h2>", text(&tag["description"]));
        for (path, method, operation) in operations(document) {
            if operation["tags"][0] == name {
                describe(&mut page, path, method, operation);
            }
        }
    }
    schemas(&mut page, document);
    errors(&mut page);
    page.push_str("</body>\n</html>\n");
    page
}

fn operations(document: &Value) -> impl Iterator<Item = (&str, &str, &Value)> {
    let paths = document["paths"].as_object().into_iter().flatten();
    paths.flat_map(|(path, methods)| {
        let methods = methods.as_object().into_iter().flatten();
        methods.map(|(method, operation)| (path.as_str(), method.as_str(), operation))
    })
}

fn contents(page: &mut String, document: &Value) {
    page.push_str("<nav>\n<ul>\n");
    for (path, method, _) in operations(document) {
        let _ = writeln!(
            page,
            "<li><a href=\"#{}\"><code>{} {path}</code></a></li>",
            anchor(path),
            method.to_uppercase()
        );
    }
    page.push_str(
        "<li><a href=\"#schemas\">Schemas</a></li>\n<li><a href=\"#errors\">Errors</a></li>\n</ul>\n</nav>\n",
    );
}

fn describe(page: &mut String, path: &str, method: &str, operation: &Value) {
    let _ = writeln!(
        page,
        "<h3 id=\"{}\"><span class=\"method\">{}</span> <code>{path}</code></h3>\n<p>{}</p>",
        anchor(path),
        method.to_uppercase(),
        text(&operation["summary"])
    );
    if operation["description"].is_string() {
        let _ = writeln!(page, "<p>{}</p>", text(&operation["description"]));
    }
    let parameters = operation["parameters"].as_array().map(Vec::as_slice).unwrap_or_default();
    if !parameters.is_empty() {
        page.push_str("<div class=\"table\"><table>\n<tr><th>parameter</th><th>in</th><th>meaning</th><th>example</th></tr>\n");
        for parameter in parameters {
            let _ = writeln!(
                page,
                "<tr><td><code>{}</code></td><td>{}</td><td>{}</td><td><code>{}</code></td></tr>",
                text(&parameter["name"]),
                text(&parameter["in"]),
                text(&parameter["description"]),
                text(&parameter["example"])
            );
        }
        page.push_str("</table></div>\n");
    }
    page.push_str("<div class=\"table\"><table>\n<tr><th>status</th><th>body</th><th>meaning</th></tr>\n");
    for (status, response) in operation["responses"].as_object().into_iter().flatten() {
        let bodies = response["content"].as_object().into_iter().flatten();
        let bodies: Vec<String> =
            bodies.map(|(media, body)| format!("<code>{media}</code> {}", kind(&body["schema"]))).collect();
        let _ = writeln!(
            page,
            "<tr><td>{status}</td><td>{}</td><td>{}</td></tr>",
            bodies.join("<br>"),
            text(&response["description"])
        );
    }
    page.push_str("</table></div>\n");
}

fn schemas(page: &mut String, document: &Value) {
    page.push_str("<h2 id=\"schemas\">Schemas</h2>\n");
    for (name, schema) in document["components"]["schemas"].as_object().into_iter().flatten() {
        let _ = writeln!(
            page,
            "<h3 id=\"schema-{name}\"><code>{name}</code></h3>\n<p>{}</p>",
            text(&schema["description"])
        );
        let parts: Vec<&Value> =
            ["oneOf", "allOf"].iter().filter_map(|key| schema[*key].as_array()).flatten().collect();
        if let Some(values) = schema["enum"].as_array() {
            let values: Vec<String> = values.iter().map(text).collect();
            let _ = writeln!(page, "<p>One of {}.</p>", values.join(", "));
        }
        if parts.is_empty() {
            fields(page, schema);
        }
        for part in parts {
            if part["$ref"].is_string() {
                let _ = writeln!(page, "<p>All fields of {}.</p>", kind(part));
            } else if let Some(values) = part["enum"].as_array() {
                let _ = writeln!(
                    page,
                    "<p><code>{}</code>: {}</p>",
                    text(&values[0]),
                    text(&part["description"])
                );
            } else {
                let _ = writeln!(page, "<p>{}</p>", text(&part["description"]));
                fields(page, part);
            }
        }
    }
}

fn fields(page: &mut String, schema: &Value) {
    let Some(properties) = schema["properties"].as_object() else { return };
    page.push_str("<div class=\"table\"><table>\n<tr><th>field</th><th>type</th><th>meaning</th></tr>\n");
    for (name, field) in properties {
        let constant =
            field["enum"].as_array().filter(|values| values.len() == 1).map(|values| text(&values[0]));
        let meaning = constant
            .map_or_else(|| text(&field["description"]), |value| format!("always <code>{value}</code>"));
        let _ =
            writeln!(page, "<tr><td><code>{name}</code></td><td>{}</td><td>{meaning}</td></tr>", kind(field));
    }
    page.push_str("</table></div>\n");
}

/// The type of a schema in a few words.
fn kind(schema: &Value) -> String {
    if let Some(reference) = schema["$ref"].as_str() {
        let name = reference.rsplit('/').next().unwrap_or(reference);
        return format!("<a href=\"#schema-{name}\">{name}</a>");
    }
    if let Some(choices) = schema["oneOf"].as_array() {
        return choices.iter().map(kind).collect::<Vec<_>>().join(" or ");
    }
    let one = |name: &str| match name {
        "array" => format!("list of {}", kind(&schema["items"])),
        "object" if schema["additionalProperties"].is_object() => {
            format!("object of {}", kind(&schema["additionalProperties"]))
        }
        other => other.to_owned(),
    };
    match &schema["type"] {
        Value::String(name) => match schema["format"].as_str() {
            Some("date-time") => "time".to_owned(),
            _ => one(name),
        },
        Value::Array(names) => {
            names.iter().filter_map(Value::as_str).map(one).collect::<Vec<_>>().join(" or ")
        }
        _ => "any".to_owned(),
    }
}

fn errors(page: &mut String) {
    page.push_str(
        "<h2 id=\"errors\">Errors</h2>\n<p>Every error is <code>application/problem+json</code> \
         (<a href=\"#schema-Problem\">Problem</a>); branch on <code>code</code>, which never changes its meaning.</p>\n\
         <div class=\"table\"><table>\n<tr><th>code</th><th>status</th><th>meaning</th><th>what to do</th></tr>\n",
    );
    for code in lowtide_api::CODES {
        let _ = writeln!(
            page,
            "<tr id=\"error-{0}\"><td><code>{0}</code></td><td>{1}</td><td>{2}</td><td>{3}</td></tr>",
            code.code,
            code.status,
            escape(code.title),
            escape(code.remedy)
        );
    }
    page.push_str("</table></div>\n");
}

fn anchor(path: &str) -> String {
    path.trim_matches('/').replace('/', "-")
}

/// A string of the document as HTML: escaped, with Markdown's backticks as code.
fn text(value: &Value) -> String {
    let plain = match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    };
    let parts = escape(&plain);
    let mut html = String::new();
    for (number, part) in parts.split('`').enumerate() {
        match number {
            0 => {}
            number if number % 2 == 1 => html.push_str("<code>"),
            _ => html.push_str("</code>"),
        }
        html.push_str(part);
    }
    html
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
