-- Which process of the agent was let in with `boot`: another one with the same number is a copy.

-- NULL until an agent has said it: the first hello after this step is taken at its word.
ALTER TABLE hosts ADD COLUMN instance TEXT;
