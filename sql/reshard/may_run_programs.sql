-- May this role ask the server's own machine?
SELECT rolsuper OR pg_has_role(current_user, 'pg_execute_server_program', 'member') FROM pg_roles WHERE rolname = current_user
