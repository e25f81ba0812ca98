/*
 * pool.c -- the process's one thread pool (the only user of pthread.h).
 *
 * Threads are created on first use, block every signal, and sleep on a condition variable between
 * runs.  A run hands out chunk numbers from one atomic counter.  The main thread works too; between
 * its chunks, and while it waits for the others, it asks the host whether to stop.  There is no
 * tear-down: the threads die with the process.  A fork leaves the child without them (the pid is
 * compared), so a child simply starts its own.
 */
#include "plm_base.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <time.h>
#include <unistd.h>

#define MAX_THREADS 64
#define POLL_NS 5000000			/* the main thread looks for a cancel every 5 ms while it waits */

typedef struct Job
{
	PlmRun		run;
	PlmTask		task;
	void	   *arg;
	int64_t		chunks;
	_Atomic int64_t next;		/* the next chunk to hand out */
	int			wanted;			/* workers that may still join */
	int			active;			/* workers inside the job */
	int64_t		failed;			/* lowest chunk that failed; -1: none */
	PlmError	error;
} Job;

static struct
{
	pthread_mutex_t lock;
	pthread_cond_t wake;		/* a job has been posted */
	pthread_cond_t done;		/* a worker left the job */
	pid_t		pid;
	int			threads;
	Job		   *job;			/* NULL: nothing to join */
} pool = {.lock = PTHREAD_MUTEX_INITIALIZER, .wake = PTHREAD_COND_INITIALIZER,
.done = PTHREAD_COND_INITIALIZER};

static void
work(Job *job, int index)
{
	PlmWorker	worker = {index, &job->run};

	for (;;)
	{
		PlmError	err = {0};
		int64_t		chunk;
		PlmStatus	status;

		if (plm_stopped(&worker))
			return;
		chunk = atomic_fetch_add(&job->next, 1);
		if (chunk >= job->chunks)
			return;
		status = job->task(job->arg, chunk, &worker, &err);
		if (status == PLM_OK)
			continue;
		pthread_mutex_lock(&pool.lock);
		/* A task that stopped because another one failed has no error of its own. */
		if (status != PLM_ECANCELLED && (job->failed < 0 || chunk < job->failed))
		{
			job->failed = chunk;
			job->error = err;
		}
		pthread_mutex_unlock(&pool.lock);
		__atomic_store_n(&job->run.stop, 1, __ATOMIC_RELAXED);
		return;
	}
}

static void *
thread_main(void *arg)
{
	int			index = (int) (intptr_t) arg;

	pthread_mutex_lock(&pool.lock);
	for (;;)
	{
		Job		   *job = pool.job;

		if (job == NULL || job->wanted == 0)
		{
			pthread_cond_wait(&pool.wake, &pool.lock);
			continue;
		}
		job->wanted--;
		job->active++;
		pthread_mutex_unlock(&pool.lock);
		work(job, index);
		pthread_mutex_lock(&pool.lock);
		/* The caller may free the job once active falls to zero: touch it no more after this. */
		job->active--;
		pthread_cond_signal(&pool.done);
	}
	return NULL;
}

/* Bring the pool to `threads` threads; fewer is not an error, the job just gets fewer. */
static void
grow(int threads)
{
	sigset_t	all;
	sigset_t	old;

	if (pool.pid != getpid())
	{
		pool.pid = getpid();
		pool.threads = 0;
	}
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	while (pool.threads < threads)
	{
		pthread_t	thread;

		if (pthread_create(&thread, NULL, thread_main, (void *) (intptr_t) (pool.threads + 1)) != 0)
			break;
		pthread_detach(thread);
		pool.threads++;
	}
	pthread_sigmask(SIG_SETMASK, &old, NULL);
}

/* Wait until no worker is inside the job, asking the host now and then. */
static void
join(Job *job)
{
	PlmWorker	self = {0, &job->run};

	pthread_mutex_lock(&pool.lock);
	job->wanted = 0;
	pool.job = NULL;
	while (job->active > 0)
	{
		struct timespec until;

		clock_gettime(CLOCK_REALTIME, &until);
		until.tv_nsec += POLL_NS;
		if (until.tv_nsec >= 1000000000)
		{
			until.tv_sec++;
			until.tv_nsec -= 1000000000;
		}
		pthread_cond_timedwait(&pool.done, &pool.lock, &until);
		pthread_mutex_unlock(&pool.lock);
		plm_stopped(&self);
		pthread_mutex_lock(&pool.lock);
	}
	pthread_mutex_unlock(&pool.lock);
}

PlmStatus
plm_parallel(int threads, int64_t chunks, PlmTask task, void *arg,
			 const PlmHook *hook, PlmError *err)
{
	Job			job = {.run = {.hook = hook}, .task = task, .arg = arg, .chunks = chunks, .failed = -1};

	if (threads > MAX_THREADS)
		threads = MAX_THREADS;
	if (threads > chunks)
		threads = (int) chunks;
	if (threads > 1)
	{
		grow(threads - 1);
		pthread_mutex_lock(&pool.lock);
		job.wanted = threads - 1;
		pool.job = &job;
		pthread_cond_broadcast(&pool.wake);
		pthread_mutex_unlock(&pool.lock);
	}
	work(&job, 0);
	if (threads > 1)
		join(&job);
	if (job.failed >= 0)
	{
		if (err != NULL)
			*err = job.error;
		return job.error.code;
	}
	if (__atomic_load_n(&job.run.stop, __ATOMIC_RELAXED))
		return plm_cancelled(err);
	return PLM_OK;
}

bool
plm_stopped(PlmWorker *worker)
{
	PlmRun	   *run = worker->run;

	if (__atomic_load_n(&run->stop, __ATOMIC_RELAXED))
		return true;
	if (worker->index != 0 || run->hook == NULL || run->hook->stop == NULL)
		return false;
	if (!run->hook->stop(run->hook->arg))
		return false;
	__atomic_store_n(&run->stop, 1, __ATOMIC_RELAXED);
	return true;
}
