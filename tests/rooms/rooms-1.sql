-- A file of version 1: session s_1 was resumed at utterance 2, has a final 3, and a late final 1.
PRAGMA journal_mode = WAL;
CREATE TABLE rooms (name TEXT PRIMARY KEY, epoch TEXT, last INTEGER, seen REAL);
CREATE TABLE sessions (
    room TEXT, session TEXT, generation INTEGER, proven INTEGER, resumed INTEGER, newest INTEGER, until REAL,
    PRIMARY KEY (room, session)
);
CREATE TABLE finals (
    room TEXT, offset INTEGER, session TEXT, utterance INTEGER, kept REAL, shown TEXT, ticket TEXT,
    PRIMARY KEY (room, offset)
);
CREATE INDEX finals_kept ON finals (kept);
PRAGMA user_version = 1;
INSERT INTO rooms VALUES ('hall', 'e1', 2, 4e9);
INSERT INTO sessions VALUES ('hall', 's_1', 2, 2, 2, 3, 4e9), ('hall', 's_2', 1, 0, 0, 0, 4e9);
INSERT INTO finals VALUES ('hall', 1, 's_1', 3, 4e9, '"text":"3"', 't'), ('hall', 2, 's_1', 1, 4e9, '"text":"1"', 't');
