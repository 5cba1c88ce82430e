-- A block has another version after each write, so that a process can keep what it has read of it.
ALTER TABLE figure_block ADD COLUMN version uuid NOT NULL DEFAULT gen_random_uuid();
