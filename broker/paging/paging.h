/* SPDX-License-Identifier: Apache-2.0 */
/* Backlogs larger than memory. Two things leave memory when it is short (relief.c): contents, as
 * whole chunks, and entries in the middle of long queues. What is needed again comes back through
 * jobs that threads of the store carry out (read_back.c): a queue whose next message is not there
 * is neither dispatched nor read from until it is, and the others go on.
 *
 * Ahead of a head that was fetched the next messages are fetched before they are needed, in windows
 * of up to FETCH_WINDOW octets. Windows are pinned until the head has passed them, so that saving
 * memory never takes what is about to be handed out; how much all windows may take is bounded, and
 * a queue that cannot use its windows loses them to one that waits.
 *
 * A message that the disk does not give back, or gives back wrong, is never delivered: it is set
 * aside, which the log says once with file and offset, and the queue goes on with the next. It
 * counts as neither ready nor gone; it stays in the log, and the next start tries it again. A
 * message that was in no log is lost then, and said to be.
 *
 * In memory-only mode there is no paging (core->paging is NULL): nothing leaves memory.
 *
 * Owner: the core thread. Makes no system call. */
#ifndef BOURSE_BROKER_PAGING_PAGING_H
#define BOURSE_BROKER_PAGING_PAGING_H

#include "broker/core/core.h"
#include "store/io_job.h"

struct paging;

/* What is set aside or lost, for the counters. */
struct paging_counters {
    uint64_t fetches, fetched_contents;
    uint64_t unreadable; /* messages set aside */
    uint64_t lost;       /* of no log, and not read back */
};

/* From now on the core pages, through `port` (copied). Call before messages are restored. */
void core_attach_paging(struct core *core, const struct io_port *port);

/* Changes where jobs go; none is under way. NULL: nothing more goes out or comes back. What the log
 * has below `committed_lsn`, where this epoch begins, is known to be on disk. */
void core_set_paging_port(struct core *core, const struct io_port *port, uint64_t committed_lsn);

/* With the core; every job is back. */
void paging_free(struct paging **paging);

/* An IO_FETCH or IO_SPILL is back. Takes it. */
void core_job_done(struct core *core, struct io_job *job);

/* The next message of the queue, if it is in memory; NULL: there is none, or it is under way, and
 * core_head_is_there will be called. Asks for what comes behind it in time. */
const struct queue_entry *core_head_in_memory(struct core *core, struct queue *queue);

/* Entries at the head of the queue are on disk: has them read back, without their contents.
 * core_head_is_there is called when they have come, or it is worth another try. */
void core_read_entries(struct core *core, struct queue *queue);

/* Messages of the queue that were set aside. */
uint64_t core_unreadable_count(const struct queue *queue);

/* The first message that is dying in the queue (broker/death/dead_letter.h). */
enum dying_content {
    DYING_IS_THERE,
    DYING_COMES, /* a job is under way; core_dying_is_there is called */
    DYING_WAITS, /* for room or memory: to be asked for again later */
    DYING_IS_LOST,
};
enum dying_content core_bring_dying(struct core *core, struct queue *queue);

/* It is another one now, or there is none: gives up what was fetched and is not needed. */
void core_heed_dying_window(struct core *core, struct queue *queue);

/* Who cannot move what is dying holds no room that the heads of queues may need. */
void core_give_up_dying_window(struct core *core, struct queue *queue);

/* Nothing is ready in the queue any more: gives up what was fetched for it. */
void core_release_windows(struct core *core, struct queue *queue);

/* The queue is gone: gives up what was fetched for it. */
void core_forget_windows(struct core *core, struct queue *queue);

/* Once per tick, when its output was written: takes memory from what was sent out, and sends out
 * what it must. */
void core_relieve_memory(struct core *core);

/* While messages are restored, and jobs are carried out at once: keeps the entries of long queues
 * out of memory. */
void core_relieve_recovery(struct core *core);

const struct paging_counters *core_paging_counters(const struct core *core);

#endif
