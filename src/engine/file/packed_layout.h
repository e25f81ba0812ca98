/*
 * packed_layout.h -- private to file/ (and to its fuzz target): the bytes of a packed cache file.
 *
 *     PackedHeader                     128 bytes
 *     PlmSection   section[n]          in the order in which they were declared
 *     uint32_t     sorted[n]           indices of the sections in the order of their names
 *     zeros up to a multiple of 64, then each section's bytes, each padded by zeros to a multiple of 64
 *
 * Everything follows from the sections' names and byte counts, so a reader recomputes the layout and
 * compares.  The header's checksum covers the header (with that field zero), directory and padding; a
 * section's checksum covers its bytes and padding: there is no bit that nothing covers.
 */
#ifndef PLM_FILE_PACKED_LAYOUT_H
#define PLM_FILE_PACKED_LAYOUT_H

#include "plm_file.h"

#include <string.h>

#define PACKED_MAGIC "PLMPACK"
#define PACKED_VERSION 1
#define PACKED_ALIGN ((size_t) 64)
#define PACKED_MAX_SECTIONS 1000000

typedef struct PackedHeader
{
	char		magic[8];
	uint32_t	version;		/* PACKED_VERSION */
	uint32_t	pack_version;	/* PLM_PACK_VERSION */
	uint32_t	config_version; /* PLM_CONFIG_VERSION */
	uint32_t	order;			/* 0x01020304 as this machine writes it */
	uint64_t	bytes;			/* of the whole file */
	uint64_t	n;				/* sections */
	uint64_t	checksum;
	unsigned char key[PLM_KEY_BYTES];
	unsigned char zero[48];
} PackedHeader;

_Static_assert(sizeof(PackedHeader) == 128, "the header has no padding");
_Static_assert(sizeof(PlmSection) == 144, "a section has no padding");

/* Bytes before the first section's data; n is at most PACKED_MAX_SECTIONS. */
static inline size_t
packed_front(uint64_t n)
{
	return plm_align(sizeof(PackedHeader) + (size_t) n * (sizeof(PlmSection) + sizeof(uint32_t)), PACKED_ALIGN);
}

/* Checksum of the first packed_front(n) bytes at base, as if the checksum in the header were 0. */
static inline uint64_t
packed_front_checksum(const unsigned char *base, uint64_t n)
{
	PackedHeader header;

	memcpy(&header, base, sizeof(header));
	header.checksum = 0;
	return plm_checksum(base + sizeof(header), packed_front(n) - sizeof(header),
						plm_checksum(&header, sizeof(header), 0));
}

#endif							/* PLM_FILE_PACKED_LAYOUT_H */
