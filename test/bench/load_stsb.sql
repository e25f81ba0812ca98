-- The STS benchmark, train and dev parts, English and Chinese, as a table; included by scripts that run in the folder of shared data.
CREATE TABLE sentence (part text, language text, a text, b text, score float8);
CREATE TEMPORARY TABLE row (a text, b text, score float8);
\copy row FROM 'stsb/stsb-en-train.csv' WITH (FORMAT csv)
INSERT INTO sentence SELECT 'train', 'English', * FROM row; TRUNCATE row;
\copy row FROM 'stsb/stsb-zh-train.csv' WITH (FORMAT csv)
INSERT INTO sentence SELECT 'train', 'Chinese', * FROM row; TRUNCATE row;
\copy row FROM 'stsb/stsb-en-dev.csv' WITH (FORMAT csv)
INSERT INTO sentence SELECT 'dev', 'English', * FROM row; TRUNCATE row;
\copy row FROM 'stsb/stsb-zh-dev.csv' WITH (FORMAT csv)
INSERT INTO sentence SELECT 'dev', 'Chinese', * FROM row;
DROP TABLE row;
