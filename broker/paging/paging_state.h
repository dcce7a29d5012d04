/* SPDX-License-Identifier: Apache-2.0 */
/* Inside of paging, shared by its files: paging.c keeps jobs, read_back.c brings messages
 * back, windows.c keeps what came, relief.c sends memory out. */
#ifndef BOURSE_BROKER_PAGING_PAGING_STATE_H
#define BOURSE_BROKER_PAGING_PAGING_STATE_H

#include "broker/paging/paging.h"
#include "queues/queue.h"
#include "store/fetch.h"
#include "store/spill.h"
#include "store/spill_space.h"

enum {
    WINDOWS_AHEAD = 3, /* that a queue has at most, the one under way included */
    SPILLS_MAX = 16,   /* under way at the same time */
};

/* What the job is for. */
enum paging_task {
    TASK_FETCH,           /* contents by their LSN */
    TASK_RESTORE,         /* a spilled chunk */
    TASK_READ_ENTRIES,    /* a run of entries, of a queue or of discards */
    TASK_LOOK_AT_ENTRIES, /* the same, which stays where it is */
    TASK_SPILL_CHUNK,
    TASK_SPILL_ENTRIES,
    TASK_REMOVE_FILE,
};

struct desk_walk;
struct pending_walk;

struct paging_job {
    struct io_job io;
    struct list_link link; /* paging->written */
    enum paging_task task;
    struct queue *queue;          /* a reference: whose head it is for; NULL: nobody's */
    bool is_returned;             /* the contents are of returned messages */
    bool is_dying;                /* of messages that have died in `queue` */
    struct pending_walk *pending; /* a request that looks at contents (pending.c); NULL: none */
    struct desk_walk *desk;       /* that looks at what comes (desk_walk.c); NULL: none */
    uint32_t tries;               /* that have failed */
    uint64_t end_position;        /* TASK_FETCH, TASK_RESTORE: behind the last entry of the deque */
    struct chunk_spill chunk;     /* TASK_RESTORE, TASK_SPILL_CHUNK */
    struct entry_spill entries;   /* TASK_READ_ENTRIES, TASK_SPILL_ENTRIES */
    union {
        struct io_fetch fetch;
        struct io_spill spill;
    };
};

/* Contents that were fetched for the head of one queue. */
struct window {
    struct content_ref chunk; /* pinned */
    uint64_t octets;
    uint64_t end_position; /* behind its last entry; the head at or behind it is past the window */
};

/* A queue for which something was fetched. */
struct queue_windows {
    struct list_link link;      /* paging->active, the longest unused first */
    struct list_link wait_link; /* paging->waiting */
    struct queue *queue;        /* not counted: it owns this */
    struct window windows[WINDOWS_AHEAD];
    uint32_t window_count;
    struct window returned; /* of returned messages; unset: none */
    uint64_t
        next_position; /* in the deque: everything before it is in memory, or was when looked */
    uint64_t stop_position;    /* could not be read ahead: wait until it is the head; 0: none */
    bool is_fetching;          /* a job is under way */
    bool is_alone;             /* the last fetch did not bring the head: ask for nothing else */
    uint32_t block_size;       /* of the next block */
    uint64_t used_ms;          /* when its head was last looked at */
    uint64_t unreadable_count; /* messages set aside */
};

struct paging {
    struct core *core;
    struct io_port port; /* submit is NULL: nothing goes out */
    struct spill_space *space;
    uint64_t committed_lsn; /* what earlier epochs have written */
    struct list active;     /* of queue_windows.link */
    struct list waiting; /* of queue_windows.wait_link: for room, memory, or somebody else's job */
    struct list walks;   /* of desk_walk.link: those that could give up a block of contents */
    struct list written; /* of paging_job.link: memory to be given up when the tick ends */
    uint64_t window_octets; /* of all windows and of blocks under way */
    uint32_t spills;        /* jobs that write */
    uint64_t spill_octets;  /* that leave memory when they are done */
    uint64_t retry_ms;      /* not before is spilling tried again; 0: at once */
    struct timer retry;     /* armed while somebody waits */
    struct paging_counters counters;
};

struct paging_job *paging_job_new(struct paging *paging, enum paging_task task,
                                  struct queue *queue);
void paging_job_free(struct paging_job **job);
void paging_submit(struct paging *paging, struct paging_job *job);
static inline bool
paging_is_open(const struct paging *paging)
{
    return paging->port.submit != NULL;
}

/* windows.c */
/* Made when the queue has none. */
struct queue_windows *paging_windows_of(struct paging *paging, struct queue *queue);
/* Takes over the pin on `window->chunk`. */
void paging_add_window(struct paging *paging, struct queue_windows *windows,
                       const struct window *window, bool is_returned);
/* Gives up the windows that the head has passed, or all of them. */
void paging_give_up_passed(struct paging *paging, struct queue_windows *windows);
void paging_give_up_all(struct paging *paging, struct queue_windows *windows);
/* Makes room for the window of a head, at the expense of queues that cannot use theirs, and of
 * walks of the desk that wait for their next slice. */
bool paging_make_room(struct paging *paging, uint64_t octets);
/* Whether there is room for one that is read ahead of a head, which may take half of all. */
bool paging_has_room_ahead(const struct paging *paging, uint64_t octets);
/* The queue cannot be served at the moment: it tries again when a window was given up, or some
 * steps of the clock later. */
void paging_wait_for_room(struct paging *paging, struct queue_windows *windows);
/* Those who wait try again. */
void paging_wake_waiting(struct paging *paging);
/* Gives up windows that nobody has used for a while, of at least `octets` if there are so many. */
void paging_drop_idle_windows(struct paging *paging, uint64_t octets);

/* read_back.c */
void paging_end_fetch(struct paging *paging, struct paging_job *job);
void paging_end_restore(struct paging *paging, struct paging_job *job);
void paging_end_read(struct paging *paging, struct paging_job *job);
/* What the content of an entry is expected to take. */
uint32_t paging_expected_octets(const struct queue_entry *entry);
/* What a block must hold for a fetch that begins with the entry, where `usual` does for most. */
uint32_t paging_block_size(uint32_t usual, const struct queue_entry *first);
/* Adds the entry's content to what is asked for. */
void paging_ask_for(struct io_fetch *fetch, const struct queue_entry *entry);
/* Lends a block and sends the job off; frees the job when there is no memory. */
bool paging_submit_fetch(struct paging *paging, struct paging_job *job, uint32_t block_size);
/* Has the spilled chunk of a content read back by the job; frees the job when it cannot be. */
bool paging_submit_restore(struct paging *paging, struct paging_job *job,
                           struct content_ref content);
/* The chunk that the job has brought for a walk, with its pin; not set: it is lost. */
struct content_ref paging_take_restored(struct paging *paging, struct paging_job *job);
/* Gives the entry its content, if it was among those fetched. */
bool paging_patch(struct chunk_pool *pool, struct queue_entry *entry, const struct io_fetch *fetch,
                  struct content_ref chunk);
/* A message cannot be read: says so and counts it; it stays in the log. */
void paging_tell_unreadable(struct paging *paging, struct queue *queue,
                            const struct queue_entry *entry, const struct log_failure *failure);
void paging_log_spill_failure(struct paging *paging, const struct paging_job *job,
                              const char *event);

/* read_dying.c */
void paging_end_dying_fetch(struct paging *paging, struct paging_job *job);
void paging_end_dying_restore(struct paging *paging, struct paging_job *job);
/* Starts reading back the next run of a deque. False when that cannot be. */
bool paging_read_entries(struct paging *paging, struct entry_deque *deque, struct queue *queue);

#endif
