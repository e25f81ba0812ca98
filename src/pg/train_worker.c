/*
 * train_worker.c -- a training in a background worker, with the caller's role and in the caller's database.
 */
#include "training.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "storage/ipc.h"
#include "tcop/tcopprot.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/snapmgr.h"

/* What the worker is told; fits bgw_extra. */
typedef struct WorkerOrder
{
	Oid			database;
	Oid			session_user;	/* who may log in */
	Oid			user;			/* as whom it works */
	int32		run;
	int32		threads;
	int32		memory_kb;
	bool		resumed;
} WorkerOrder;

static void
no_worker(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_INSUFFICIENT_RESOURCES),
			 errmsg("no background worker is free for the training"),
			 errhint("Raise max_worker_processes, wait for another to end, or train in this session without option \"background\".")));
}

void
plmpg_train_in_background(PlmpgTrainRun *run)
{
	BackgroundWorker worker = {0};
	BackgroundWorkerHandle *handle;
	WorkerOrder order = {
		.database = MyDatabaseId, .session_user = GetSessionUserId(), .user = GetUserId(), .run = run->run,
		.threads = plmpg_thread_count(), .memory_kb = plmpg_memory_limit_kb, .resumed = run->resumed
	};
	int32		number = run->run;
	pid_t		pid;

	StaticAssertStmt(sizeof(order) <= BGW_EXTRALEN, "the order must fit");
	snprintf(worker.bgw_name, BGW_MAXLEN, "product_llm training %d", number);
	strlcpy(worker.bgw_type, "product_llm training", BGW_MAXLEN);
	worker.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker.bgw_start_time = BgWorkerStart_RecoveryFinished;
	worker.bgw_restart_time = BGW_NEVER_RESTART;
	strlcpy(worker.bgw_library_name, "product_llm", sizeof(worker.bgw_library_name));
	strlcpy(worker.bgw_function_name, "product_llm_training_main", sizeof(worker.bgw_function_name));
	worker.bgw_notify_pid = MyProcPid;
	memcpy(worker.bgw_extra, &order, sizeof(order));
	if (!RegisterDynamicBackgroundWorker(&worker, &handle) ||
		WaitForBackgroundWorkerStartup(handle, &pid) == BGWH_POSTMASTER_DIED)
	{
		if (!run->resumed)
		{
			PushActiveSnapshot(GetTransactionSnapshot());
			plmpg_run_delete(number);
			PopActiveSnapshot();
			plmpg_commit();
		}
		no_worker();
	}
	ereport(NOTICE,
			(errmsg("training %d goes on in the background", number),
			 errhint("product_llm.training_runs shows how far it is, product_llm.cancel_training(%d) stops it.", number)));
}

static void
set_int(const char *name, int value)
{
	char		text[32];

	snprintf(text, sizeof(text), "%d", value);
	SetConfigOption(name, text, PGC_USERSET, PGC_S_SESSION);
}

PGDLLEXPORT void product_llm_training_main(Datum arg);

/* The worker's entry. */
void
product_llm_training_main(Datum arg)
{
	WorkerOrder order;
	MemoryContext context;

	memcpy(&order, MyBgworkerEntry->bgw_extra, sizeof(order));
	pqsignal(SIGTERM, die);
	BackgroundWorkerUnblockSignals();
	BackgroundWorkerInitializeConnectionByOid(order.database, order.session_user, 0);
	pgstat_report_activity(STATE_RUNNING, MyBgworkerEntry->bgw_name);
	context = AllocSetContextCreate(TopMemoryContext, "product_llm training worker", ALLOCSET_DEFAULT_SIZES);
	plmpg_own_transactions();
	StartTransactionCommand();
	MemoryContextSwitchTo(context);
	if (order.user != order.session_user)
		SetConfigOption("role", GetUserNameFromId(order.user, false), PGC_SUSET, PGC_S_SESSION);
	set_int("product_llm.threads", order.threads);
	set_int("product_llm.memory_limit", order.memory_kb);
	plmpg_train_stored(order.run);
	CommitTransactionCommand();
	proc_exit(0);
}
