-- Asks df, as POSIX has it, about the folder of the server's data, in which its programs start.
COPY shardrive_disk FROM PROGRAM 'df -P -k .'
