-- Runs POSIX df in the server's data folder, where its programs start.
COPY shardrive_disk FROM PROGRAM 'df -P -k .'
