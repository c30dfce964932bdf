-- Whether this role may run programs on the server's machine.
SELECT rolsuper OR pg_has_role(current_user, 'pg_execute_server_program', 'member') FROM pg_roles WHERE rolname = current_user
