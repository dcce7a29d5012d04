/* SPDX-License-Identifier: Apache-2.0 */
/* Assertions that stay on in every build. One condition per `assert`, so that the message names
 * the culprit; never on bytes from a peer or a disk. */
#ifndef BOURSE_BASE_ASSERT_H
#define BOURSE_BASE_ASSERT_H

#ifdef NDEBUG
#error "Bourse keeps its assertions in release builds"
#endif

#include <assert.h>
#include <stddef.h>

#define ARRAY_LEN(array) (sizeof(array) / sizeof((array)[0]))

/* The object of type `type` whose member `member` is at `pointer`. */
#define CONTAINER_OF(pointer, type, member) ((type *)((char *)(pointer)-offsetof(type, member)))

#endif
