//! What packages install beside the program: completions for shells, and the manual.

use tokio::process::Command;

use crate::support::program::shardrive;

/// What bash offers behind the words of a command line, by the program's own completions.
async fn offered_by_bash(script: &str, words: &[&str]) -> Vec<String> {
    let last = words.len() - 1;
    let line = words.iter().map(|word| format!("'{word}'")).collect::<Vec<_>>().join(" ");
    let ask = format!(
        "COMP_WORDS=({line}); COMP_CWORD={last}; _shardrive shardrive '{}' ''; printf '%s\\n' \"${{COMPREPLY[@]}}\"",
        words[last]
    );
    let done = Command::new("bash").args(["--norc", "-c", &format!("{script}\n{ask}")]).output().await.unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).unwrap().lines().map(str::to_owned).collect()
}

#[tokio::test]
async fn bash_completes_commands_and_options() {
    let script = shardrive(&["completions", "bash"], &[]).await;
    assert_eq!(script.code, 0, "{script:?}");
    assert_eq!(offered_by_bash(&script.out, &["shardrive", "sh"]).await, ["shards"]);
    assert_eq!(offered_by_bash(&script.out, &["shardrive", "shards", "re"]).await, ["rebalance"]);
    assert!(
        offered_by_bash(&script.out, &["shardrive", "shards", "add", "--u"]).await.contains(&"--url-file".to_owned())
    );
}

#[tokio::test]
async fn other_shells_get_completions_too() {
    for (shell, begins) in [("zsh", "#compdef shardrive"), ("fish", "#")] {
        let script = shardrive(&["completions", shell], &[]).await;
        assert!(script.code == 0 && script.out.starts_with(begins) && script.out.contains("rebalance"), "{script:?}");
    }
    let unknown = shardrive(&["completions", "cmd"], &[]).await;
    assert!(unknown.code == 2 && unknown.err.contains("fish"), "{unknown:?}");
}

#[tokio::test]
async fn the_manual_has_a_page_for_each_command() {
    let folder = tempfile::tempdir().unwrap();
    let pages = folder.path().join("share/man1");
    let written = shardrive(&["man", pages.to_str().unwrap()], &[]).await;
    assert_eq!(written.code, 0, "{written:?}");
    for page in ["shardrive.1", "shardrive-serve.1", "shardrive-shards-add.1"] {
        let text = std::fs::read_to_string(pages.join(page)).unwrap();
        assert!(text.contains(".TH shardrive"), "{page}: {text}");
    }
    assert!(std::fs::read_to_string(pages.join("shardrive.1")).unwrap().contains("Exit codes"));
}
