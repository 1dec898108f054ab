use super::Policy;

fn told(rest: &str) -> String {
    let text = format!("[[rule]]\nname = \"before\"\nno_punt = true\n[[rule]]\n{rest}");
    match Policy::read(&text, "p.toml".as_ref()) {
        Ok(_) => String::new(),
        Err(error) => format!("{error:#}"),
    }
}

#[test]
fn a_number_that_cannot_be_is_told_at_its_key() {
    for (rest, error) in [
        (
            "at_least = 0\nname = \"a\"\nno_punt = true\n",
            "p.toml:5:1: at_least = 0 would let the rule \"a\" pass without any op",
        ),
        (
            "name = \"a\"\nno_punt = true\nmax_len = 1\n  min_len = 2\n",
            "p.toml:8:3: no op has the length that the rule \"a\" is for",
        ),
        // As long as the shortest that is asked for.
        (
            "name = \"a\"\nno_punt = true\nmin_len = 2\nmax_len = 2\n",
            "",
        ),
    ] {
        let told = told(rest);
        assert!(told.starts_with(error), "{rest}\n{told}");
        assert_eq!(told.is_empty(), error.is_empty(), "{rest}\n{told}");
    }
}

#[test]
fn a_key_that_could_never_be_judged_is_told_at_its_place() {
    for (op, asked, error) in [
        (
            "\"sync\"",
            "cache = \"direct\"",
            "p.toml:7:2: cache is of reads and writes, and the rule \"ä\" is for syncs alone",
        ),
        (
            "\"sync\"",
            "no_fallback = true",
            "p.toml:7:2: no_fallback is of reads",
        ),
        (
            "[\"sync\", \"sync\"]",
            "never_waits_in_submit = true",
            "p.toml:7:2: never_waits_in_submit is of reads and writes",
        ),
        (
            "\"read\"",
            "durable_before_ack = true",
            "p.toml:7:2: durable_before_ack is of writes and syncs, and the rule \"ä\" is for reads alone",
        ),
        // Some of the ops can be judged, or nothing is asked.
        ("[\"sync\", \"write\"]", "cache = \"direct\"", ""),
        ("[\"read\", \"sync\"]", "durable_before_ack = true", ""),
        ("\"read\"", "cache = \"direct\"", ""),
        ("\"sync\"", "durable_before_ack = true", ""),
        ("[]", "cache = \"direct\"\ndurable_before_ack = true", ""),
        ("\"sync\"", "no_fallback = false\nno_punt = true", ""),
        ("\"sync\"", "no_writeback = true\nno_punt = true", ""),
    ] {
        let told = told(&format!("name = \"ä\"\nop = {op}\n {asked}\n"));
        assert!(told.starts_with(error), "{op} {asked}\n{told}");
        assert_eq!(told.is_empty(), error.is_empty(), "{op} {asked}\n{told}");
    }
}

#[test]
fn a_rule_in_one_line_has_its_keys_found_as_well() {
    let text = "rule = [{ name = \"a\", op = \"sync\", cache = \"direct\" }]\n";
    let told = Policy::read(text, "p.toml".as_ref()).unwrap_err();
    assert!(
        told.to_string().starts_with("p.toml:1:36: cache is"),
        "{told}"
    );
}
