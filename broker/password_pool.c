/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/password_pool.h"

#include "base/alloc.h"
#include "base/assert.h"
#include "base/list.h"
#include "broker/passwords/password.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

/* One check, owned by whichever list it is on, and by a thread in between. */
struct password_job {
    struct list_link link;
    uint64_t id;
    bool matches;
    bool is_hashed; /* a new password was given, and `made` is its hash; else it is compared */
    char made[PASSWORD_HASH_SIZE]; /* "": there was no memory */
    char *hash;                    /* to compare with; NULL: to be made */
    size_t password_size;
    uint8_t password[]; /* wiped before the job is freed */
};

struct password_pool {
    pthread_mutex_t mutex; /* guards everything below it */
    pthread_cond_t work;
    struct list waiting;
    struct list done;
    uint32_t waiting_count;
    bool is_stopping;
    int event_fd;
    uint32_t thread_count;
    pthread_t threads[PASSWORD_THREADS];
};

static void
password_job_free(struct password_job *job)
{
    explicit_bzero(job->password, job->password_size);
    free(job->hash);
    free(job);
}

static void
password_job_list_free(struct list *list)
{
    struct list_link *link;
    while ((link = list_pop(list)) != NULL) {
        password_job_free(CONTAINER_OF(link, struct password_job, link));
    }
}

/* Waits for a job; NULL when the pool is being stopped. */
static struct password_job *
password_pool_take(struct password_pool *pool)
{
    pthread_mutex_lock(&pool->mutex);
    while (!pool->is_stopping && list_is_empty(&pool->waiting)) {
        pthread_cond_wait(&pool->work, &pool->mutex);
    }
    struct list_link *link = pool->is_stopping ? NULL : list_pop(&pool->waiting);
    if (link != NULL) {
        pool->waiting_count--;
    }
    pthread_mutex_unlock(&pool->mutex);
    return link == NULL ? NULL : CONTAINER_OF(link, struct password_job, link);
}

static void
password_pool_finish(struct password_pool *pool, struct password_job *job)
{
    pthread_mutex_lock(&pool->mutex);
    list_append(&pool->done, &job->link);
    pthread_mutex_unlock(&pool->mutex);
    eventfd_write(pool->event_fd, 1);
}

static void
password_job_run(struct password_job *job)
{
    struct bytes password = bytes_make(job->password, job->password_size);
    if (job->hash == NULL) {
        struct random_source random = random_system();
        job->is_hashed = true;
        if (password_hash(password, &random, job->made) != STATUS_OK) {
            job->made[0] = '\0';
        }
        return;
    }
    /* Without the memory for a check nobody gets in; the client may try again. */
    job->matches = password_verify(password, job->hash) == STATUS_OK;
}

static void *
password_pool_run(void *context)
{
    struct password_pool *pool = context;
    struct password_job *job;
    while ((job = password_pool_take(pool)) != NULL) {
        password_job_run(job);
        password_pool_finish(pool, job);
    }
    return NULL;
}

static bool
password_pool_start_threads(struct password_pool *pool)
{
    static const size_t STACK_SIZE = 256 * 1024;
    pthread_attr_t attributes;
    if (pthread_attr_init(&attributes) != 0) {
        return false;
    }
    int error = pthread_attr_setstacksize(&attributes, STACK_SIZE);
    while (error == 0 && pool->thread_count < PASSWORD_THREADS) {
        error = pthread_create(&pool->threads[pool->thread_count], &attributes, password_pool_run,
                               pool);
        pool->thread_count += error == 0 ? 1 : 0;
    }
    pthread_attr_destroy(&attributes);
    errno = error;
    return error == 0;
}

struct password_pool *
password_pool_new(void)
{
    struct password_pool *pool = xalloc(sizeof(*pool));
    pthread_mutex_init(&pool->mutex, NULL);
    pthread_cond_init(&pool->work, NULL);
    list_init(&pool->waiting);
    list_init(&pool->done);
    pool->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (pool->event_fd < 0 || !password_pool_start_threads(pool)) {
        int error = errno;
        password_pool_free(&pool);
        errno = error;
    }
    return pool;
}

void
password_pool_free(struct password_pool **pool_pointer)
{
    struct password_pool *pool = *pool_pointer;
    if (pool == NULL) {
        return;
    }
    pthread_mutex_lock(&pool->mutex);
    pool->is_stopping = true;
    pthread_cond_broadcast(&pool->work);
    pthread_mutex_unlock(&pool->mutex);
    for (uint32_t i = 0; i < pool->thread_count; i++) {
        pthread_join(pool->threads[i], NULL);
    }
    password_job_list_free(&pool->waiting);
    password_job_list_free(&pool->done);
    if (pool->event_fd >= 0) {
        close(pool->event_fd);
    }
    pthread_cond_destroy(&pool->work);
    pthread_mutex_destroy(&pool->mutex);
    free(pool);
    *pool_pointer = NULL;
}

/* `hash` NULL: one is to be made. */
static enum status
password_pool_add(struct password_pool *pool, uint64_t id, struct bytes password, const char *hash)
{
    struct password_job *job = xalloc(sizeof(*job) + password.size);
    job->id = id;
    job->hash = hash == NULL ? NULL : xstrdup(hash);
    job->password_size = password.size;
    memcpy(job->password, password.data, password.size);
    pthread_mutex_lock(&pool->mutex);
    bool has_room = pool->waiting_count < PASSWORD_WAITING_MAX;
    if (has_room) {
        pool->waiting_count++;
        list_append(&pool->waiting, &job->link);
        pthread_cond_signal(&pool->work);
    }
    pthread_mutex_unlock(&pool->mutex);
    if (!has_room) {
        password_job_free(job);
        return STATUS_FULL;
    }
    return STATUS_OK;
}

static enum status
password_pool_check(void *context, uint64_t id, struct bytes password, const char *hash)
{
    assert(hash != NULL);
    return password_pool_add(context, id, password, hash);
}

static enum status
password_pool_hash(void *context, uint64_t id, struct bytes password)
{
    return password_pool_add(context, id, password, NULL);
}

struct password_port
password_pool_port(struct password_pool *pool)
{
    return (struct password_port){
        .check = password_pool_check, .hash = password_pool_hash, .context = pool};
}

int
password_pool_fd(const struct password_pool *pool)
{
    return pool->event_fd;
}

static struct password_job *
password_pool_take_done(struct password_pool *pool)
{
    pthread_mutex_lock(&pool->mutex);
    struct list_link *link = list_pop(&pool->done);
    pthread_mutex_unlock(&pool->mutex);
    return link == NULL ? NULL : CONTAINER_OF(link, struct password_job, link);
}

void
password_pool_collect(struct password_pool *pool, struct core *core)
{
    eventfd_t count;
    (void)eventfd_read(pool->event_fd, &count);
    struct password_job *job;
    while ((job = password_pool_take_done(pool)) != NULL) {
        if (job->is_hashed) {
            core_password_hashed(core, job->id, job->made[0] == '\0' ? NULL : job->made);
        } else {
            core_password_done(core, job->id, job->matches);
        }
        password_job_free(job);
    }
}
