"""Write `src/configuration.md`, every key of `tesla.toml`, from the program's own JSON Schema.

    tesla schema | python docs/guide/keys.py > docs/guide/src/configuration.md

The words are those of the schema, which are those of the source: to change them, change the source.
"""

import json
import sys

HEAD = """# Every key of tesla.toml

<!-- Written by docs/guide/keys.py from `tesla schema`. Do not edit: run it again. -->

A `tesla.toml` holds only what you want otherwise: a key that is left out has a default, unless the table says "must be
said". `[data]` needs a `source` and, but for images and ratings, a `target`; either may come from the command line. A key
that does not exist is an error that names the line and the nearest valid word. `runs/NAME/tesla.toml`, which every run leaves
behind, has all defaults filled in.

This page is made from the program's own schema. After a change of the program, make it again:

```text
tesla schema | python docs/guide/keys.py > docs/guide/src/configuration.md
```

`tesla schema` on its own is for editors: with it they complete keys and mark mistakes.
"""


def main():
    schema = json.load(sys.stdin)
    definitions = schema["$defs"]
    sections = []  # (definition, path), each definition once, where it is met first
    seen = set()

    def reach(node, path):
        if isinstance(node, list):
            for item in node:
                reach(item, path)
            return
        if not isinstance(node, dict):
            return
        name = reference(node)
        if name and name not in seen:
            seen.add(name)
            sections.append((name, path))
            reach(definitions[name], path)
        for key, child in node.get("properties", {}).items():
            reach(child, f"{path}.{key}" if path else key)
        for key in ("anyOf", "oneOf", "items", "prefixItems"):
            reach(node.get(key), path)
        if isinstance(node.get("additionalProperties"), dict):
            reach(node["additionalProperties"], f"{path}.NAME")

    reach({"properties": schema["properties"]}, "")
    links = {name: (path, anchor(path, name)) for name, path in sections}
    out = [HEAD]
    for name, path in sections:
        out.append(section(definitions[name], name, path, links))
    print("\n".join(out).rstrip())


def reference(node):
    return node["$ref"].rsplit("/", 1)[1] if "$ref" in node else None


def anchor(path, name):
    return f"{path.replace('.', '-').lower()}-{name.lower()}"


def section(node, name, path, links):
    """One table of the file, or one value that has a shape of its own. `name` is that of the type in Rust, by which
    the tables above link to it."""
    if node.get("type") == "object":
        title = f"`[{path}]`"
    else:
        title = f"Values of `{path}`"
    lines = [f"## {title} ({name})", "", f'<a id="{links[name][1]}"></a>', ""]
    if node.get("description"):
        lines += [sentence(node["description"]), ""]
    if "properties" in node:
        lines += keys(node, links)
    for variant in node.get("oneOf", node.get("anyOf", [])):
        lines += alternative(variant, links)
    if lines[-1]:
        lines.append("")
    return "\n".join(lines)


def keys(node, links, skip=()):
    rows = ["| Key | Value | Default | Meaning |", "| --- | --- | --- | --- |"]
    for key, child in node["properties"].items():
        if key in skip:
            continue
        if "default" in child and not isinstance(child["default"], dict):
            default = f"`{json.dumps(child['default'], ensure_ascii=False)}`"
        elif key in node.get("required", []):
            default = "must be said"
        else:
            default = ""
        rows.append(f"| `{key}` | {value(child, links)} | {default} | {cell(child.get('description', ''))} |")
    return rows + [""] if len(rows) > 2 else []


def alternative(variant, links):
    """A line, and a table where the alternative has keys of its own."""
    says = sentence(variant.get("description", ""))
    if "const" in variant:
        return [f"- `{json.dumps(variant['const'])}`: {says}"]
    if "enum" in variant:
        return [f"- `{json.dumps(word)}`" for word in variant["enum"]]
    inner = variant.get("properties", {})
    tags = [(key, child) for key, child in inner.items() if "const" in child]
    if tags:
        key, child = tags[0]
        rest = keys(variant, links, skip=(key,))
        return ["", f"**`{key} = {json.dumps(child['const'])}`** — {says}", ""] + rest
    if len(inner) == 1:
        key, child = next(iter(inner.items()))
        if child.get("properties"):
            return ["", f"**`{{ {key} = {{ … }} }}`** — {says}", ""] + keys(child, links)
        return [f"- `{{ {key} = … }}`, {value(child, links)}: {says}"]
    if inner:
        return ["", says, ""] + keys(variant, links)
    kind = value(variant, links)
    return [f"- {kind}: {says}" if says else f"- {kind}"]


def value(node, links):
    """What a key takes, in a few words."""
    name = reference(node)
    if name:
        _, target = links[name]
        return f"[{name}](#{target})"
    for key in ("anyOf", "oneOf"):
        if key in node:
            words = [value(v, links) for v in node[key] if v.get("type") != "null"]
            return " or ".join(dict.fromkeys(words))
    if "const" in node:
        return f"`{json.dumps(node['const'])}`"
    if "enum" in node:
        return ", ".join(f"`{json.dumps(word)}`" for word in node["enum"] if word is not None)
    kind = node.get("type", "any value")
    if isinstance(kind, list):
        kind = next(word for word in kind if word != "null")
    if kind == "array":
        if "prefixItems" in node:
            return "[" + ", ".join(value(item, links) for item in node["prefixItems"]) + "]"
        return f"list of {value(node.get('items', {}), links)}s"
    if kind == "object" and isinstance(node.get("additionalProperties"), dict):
        return f"table of {value(node['additionalProperties'], links)} by name"
    return {"boolean": "`true` or `false`", "number": "number", "integer": "whole number", "object": "table"}.get(kind, kind)


def cell(text):
    return sentence(text).replace("|", "\\|")


def sentence(text):
    return " ".join(text.split())


main()
