/* SPDX-License-Identifier: MIT */
/*
 * Files to be passed around, each told apart by the number in it.
 */
#ifndef TESTS_SUPPORT_FILES_H
#define TESTS_SUPPORT_FILES_H

/* fd[i] holds the number `first` + i. */
void files_open(int *fd, unsigned count, unsigned first);
void files_close(const int *fd, unsigned count);

/* Fails the test unless these are the files with the numbers from `first` on; then
 * closes them. */
void files_expect(const int *fd, unsigned count, unsigned first);

#endif
