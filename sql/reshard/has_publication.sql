-- Whether there is a publication of this name.
SELECT EXISTS (SELECT FROM pg_publication WHERE pubname = $1)
