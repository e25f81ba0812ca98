-- A small model, shop-mini, made of a corpus by the extension itself (make model): vocabulary, word vectors, all layers, masked-word head.
--
-- corpus (text) and pair (query, positive) are tables of the database: corpus.sql fills them from public data; with tables
-- of your own shop in their place the same calls make a model of your own.  Each call that was interrupted goes on
-- where it was when this file is run again; what is made already is left as it is.

\set ON_ERROR_STOP on
SET client_min_messages = warning;

SELECT count(*) FILTER (WHERE model = 'shop-mini-vocabulary') = 0 AS vocabulary_missing, count(*) FILTER (WHERE model = 'shop-mini-words') = 0 AS words_missing,
	count(*) FILTER (WHERE model = 'shop-mini-tuned') = 0 AS tuned_missing, count(*) FILTER (WHERE model = 'shop-mini') = 0 AS model_missing
FROM product_llm.models \gset

\if :vocabulary_missing
\echo 'vocabulary'
CALL product_llm.train_tokenizer('shop-mini-vocabulary', 'SELECT text FROM corpus', 14336, '{"alphabet": 4500}');
\endif

-- Words alone, in a minute or two; the layers are the identity until they learn.
\if :words_missing
\echo 'word vectors: what belongs together'
CALL product_llm.finetune('shop-mini-words', 'shop-mini-vocabulary', 'retrieval', 'SELECT query, positive FROM pair',
	'{"word_vectors": true, "width": 256, "layers": 4, "heads": 4, "ff": 1024, "positions": 128, "epochs": 4, "batch": 512, "learning_rate": 1e-2,
	  "weight_decay": 0, "temperature": 0.05, "matryoshka": [64], "max_tokens": 96, "validation": 0.005, "evaluate_every": 1000, "checkpoint_every": 60}');
\endif

\if :tuned_missing
\echo 'all layers: what belongs together'
CALL product_llm.finetune('shop-mini-tuned', 'shop-mini-words', 'retrieval', 'SELECT query, positive FROM pair',
	'{"steps": 400, "batch": 256, "learning_rate": 2e-4, "temperature": 0.05, "matryoshka": [64], "max_tokens": 64, "validation": 0.005,
	  "evaluate_every": 400, "checkpoint_every": 60}');
\endif

-- The embeddings stay as they are: what learns is the head alone.
\if :model_missing
\echo 'head: masked words'
CALL product_llm.pretrain('shop-mini', 'SELECT text FROM corpus', 'shop-mini-tuned',
	'{"frozen_layers": 4, "steps": 400, "batch": 128, "learning_rate": 4e-3, "mask_rate": 0.2, "max_tokens": 64, "validation": 0.01,
	  "evaluate_every": 200, "checkpoint_every": 60}');
\endif

SELECT run, model, task, steps, round(best_value::numeric, 4) AS best, best_metric, example_rows, state,
	updated_at - started_at AS took FROM product_llm.training_runs ORDER BY run;
SELECT product_llm.training_chart(max(run)) FROM product_llm.training_runs WHERE state = 'done' AND task = 'retrieval';
