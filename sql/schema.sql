-- The result of all migrations, to read: `make schema` writes it, a test compares it, nothing runs it.

CREATE FUNCTION public.task_json(id uuid, title text, description text, completed boolean, user_id uuid, created_at timestamp with time zone, updated_at timestamp with time zone) RETURNS text
    LANGUAGE sql STABLE
    AS $$
    select '{"id":"' || id::text
        || '","title":' || to_json(title)::text
        || ',"description":' || coalesce(to_json(description)::text, 'null')
        || ',"completed":' || completed::text
        || ',"user_id":"' || user_id::text
        || '","created_at":"' || to_char(created_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
        || '","updated_at":"' || to_char(updated_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
        || '"}'
$$;

CREATE UNLOGGED TABLE public.login_attempts (
    key bytea NOT NULL,
    attempts bigint NOT NULL,
    expires_at timestamp with time zone NOT NULL
);

CREATE TABLE public.tasks (
    user_id uuid NOT NULL,
    id uuid NOT NULL,
    title text NOT NULL,
    description text,
    completed boolean DEFAULT false NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    fingerprint bytea,
    change_id uuid,
    CONSTRAINT tasks_description_length CHECK ((char_length(description) <= 1000)),
    CONSTRAINT tasks_title_length CHECK (((char_length(title) >= 1) AND (char_length(title) <= 255))),
    CONSTRAINT tasks_title_trimmed CHECK ((title = btrim(title, E'\u0009\u000a\u000b\u000c\u000d\u001c\u001d\u001e\u001f \u0085\u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u2028\u2029\u202f\u205f\u3000'::text)))
);

CREATE TABLE public.token_cutoffs (
    user_id uuid NOT NULL,
    valid_from timestamp with time zone NOT NULL
);

CREATE TABLE public.users (
    id uuid NOT NULL,
    email text,
    password_hash text,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT users_email_length CHECK (((char_length(email) >= 3) AND (char_length(email) <= 255))),
    CONSTRAINT users_email_lower_case CHECK ((email = lower(email))),
    CONSTRAINT users_email_with_password CHECK (((email IS NULL) = (password_hash IS NULL)))
);

ALTER TABLE ONLY public.login_attempts
    ADD CONSTRAINT login_attempts_pkey PRIMARY KEY (key);

ALTER TABLE ONLY public.tasks
    ADD CONSTRAINT tasks_pkey PRIMARY KEY (user_id, id);

ALTER TABLE ONLY public.token_cutoffs
    ADD CONSTRAINT token_cutoffs_pkey PRIMARY KEY (user_id);

ALTER TABLE ONLY public.users
    ADD CONSTRAINT users_email_key UNIQUE (email);

ALTER TABLE ONLY public.users
    ADD CONSTRAINT users_pkey PRIMARY KEY (id);

CREATE INDEX login_attempts_expiry ON public.login_attempts USING btree (expires_at);

CREATE INDEX tasks_newest_first ON public.tasks USING btree (user_id, created_at DESC, id DESC);

ALTER TABLE ONLY public.tasks
    ADD CONSTRAINT tasks_user_id_fkey FOREIGN KEY (user_id) REFERENCES public.users(id) ON DELETE CASCADE;
