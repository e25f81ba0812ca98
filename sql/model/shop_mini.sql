-- A small model, shop-mini, made of a corpus by the extension itself: vocabulary, pretraining, contrastive tuning (make model).
--
-- corpus (text) and pair (query, positive) are tables of the database: corpus.sql fills them from public data; with tables
-- of your own shop in their place the same three calls make a model of your own.  Each call that was interrupted goes on
-- where it was when this file is run again; what is made already is left as it is.

\set ON_ERROR_STOP on
SET client_min_messages = warning;

SELECT count(*) FILTER (WHERE model = 'shop-mini-words') = 0 AS words_missing, count(*) FILTER (WHERE model = 'shop-mini-base') = 0 AS base_missing,
	count(*) FILTER (WHERE model = 'shop-mini') = 0 AS model_missing
FROM product_llm.models \gset

\if :words_missing
\echo 'vocabulary'
CALL product_llm.train_tokenizer('shop-mini-words', 'SELECT text FROM corpus', 16384, '{"cjk_pieces": true, "alphabet": 3000}');
\endif

\if :base_missing
\echo 'pretraining: masked words'
CALL product_llm.pretrain('shop-mini-base', 'SELECT text FROM corpus', 'shop-mini-words',
	'{"width": 256, "layers": 4, "heads": 4, "ff": 1024, "positions": 128, "epochs": 1, "batch": 128, "learning_rate": 1e-3,
	  "mask_rate": 0.2, "validation": 0.01, "evaluate_every": 500, "checkpoint_every": 60}');
\endif

\if :model_missing
\echo 'contrastive tuning: what belongs together'
CALL product_llm.finetune('shop-mini', 'shop-mini-base', 'retrieval', 'SELECT query, positive FROM pair',
	'{"epochs": 1, "batch": 256, "learning_rate": 4e-4, "temperature": 0.05, "matryoshka": [64], "max_tokens": 64,
	  "validation": 0.005, "evaluate_every": 250, "checkpoint_every": 60}');
\endif

SELECT run, model, task, steps, round(best_value::numeric, 4) AS best, best_metric, example_rows, state,
	updated_at - started_at AS took FROM product_llm.training_runs ORDER BY run;
SELECT product_llm.training_chart(max(run)) FROM product_llm.training_runs WHERE state = 'done';
