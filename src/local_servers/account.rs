//! The user of local servers: the current user, or `postgres` if the current user is root.

use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use super::binaries::shell_output;
use super::error::LocalError;

/// The bit that lets other users enter a folder.
const OTHERS_ENTER: u32 = 0o001;
const GROUP_ENTER: u32 = 0o010;
const OWNER_ENTER: u32 = 0o100;

/// The user of the servers and owner of the folders.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ServerAccount {
    /// User and group, unless the current user runs the servers.
    ids: Option<(u32, u32)>,
}

impl ServerAccount {
    /// The user for this process.
    ///
    /// # Errors
    /// `NoAccount` if the current user is root and there is no user `postgres`.
    pub fn find() -> Result<Self, LocalError> {
        if !is_root() {
            return Ok(Self { ids: None });
        }
        let id = |kind: &str| shell_output(&format!("id {kind} postgres 2>/dev/null"))?.parse().ok();
        let ids = id("-u").zip(id("-g")).ok_or(LocalError::NoAccount)?;
        Ok(Self { ids: Some(ids) })
    }

    /// A command that this user will run.
    #[must_use]
    pub fn command_as_account(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        if let Some((user, group)) = self.ids {
            command.uid(user).gid(group);
        }
        // People read the program's messages, and code compares the messages: a single language for all.
        command.env("LC_ALL", "C");
        command
    }

    /// Makes a folder and its parents; the folder belongs to this user alone.
    ///
    /// # Errors
    /// `Unreachable` if the user may not enter a folder above; or an input or output error.
    pub fn make_folder(&self, folder: &Path) -> Result<(), LocalError> {
        std::fs::create_dir_all(folder).map_err(LocalError::io_at(folder))?;
        std::fs::set_permissions(folder, PermissionsExt::from_mode(0o700)).map_err(LocalError::io_at(folder))?;
        self.give_ownership(folder)?;
        self.check_reach(folder)
    }

    /// Gives a file or folder to this user.
    ///
    /// # Errors
    /// An input or output error.
    pub fn give_ownership(&self, path: &Path) -> Result<(), LocalError> {
        let Some((user, group)) = self.ids else { return Ok(()) };
        chown(path, Some(user), Some(group)).map_err(LocalError::io_at(path))
    }

    /// Refuses a folder that this user could not reach.
    fn check_reach(&self, folder: &Path) -> Result<(), LocalError> {
        let Some((user, group)) = self.ids else { return Ok(()) };
        for above in folder.ancestors().skip(1) {
            let found = std::fs::metadata(above).map_err(LocalError::io_at(above))?;
            let needed = match (found.uid() == user, found.gid() == group) {
                (true, _) => OWNER_ENTER,
                (false, true) => GROUP_ENTER,
                (false, false) => OTHERS_ENTER,
            };
            if found.mode() & needed == 0 {
                return Err(LocalError::Unreachable { closed: above.to_owned() });
            }
        }
        Ok(())
    }
}

/// The user of this process, as `user@host`; `unknown` for a missing part. Asks the shell.
#[must_use]
pub fn operator_name() -> String {
    let ask = |command| shell_output(command).unwrap_or_else(|| "unknown".to_owned());
    // A user without a name, as in a container, has a number.
    format!("{}@{}", ask("id -un 2>/dev/null || id -u"), ask("uname -n"))
}

pub(super) fn is_root() -> bool {
    shell_output("id -u").as_deref() == Some("0")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_closed_folder_on_the_way_is_named() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path().canonicalize().unwrap();
        std::fs::set_permissions(&root, PermissionsExt::from_mode(0o700)).unwrap();
        let stranger = ServerAccount { ids: Some((4_000_000, 4_000_000)) };
        let Err(LocalError::Unreachable { closed }) = stranger.check_reach(&root.join("shard_0")) else {
            panic!("a closed folder was not noticed");
        };
        assert_eq!(closed, root);

        std::fs::set_permissions(&root, PermissionsExt::from_mode(0o711)).unwrap();
        stranger.check_reach(&root.join("shard_0")).unwrap();
        ServerAccount { ids: None }.check_reach(Path::new("/no/such/folder")).unwrap();
    }
}
