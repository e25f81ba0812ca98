src/engine/file/json.o: src/engine/file/json.c src/engine/file/json.h \
 src/engine/file/plm_file.h src/engine/file/../num/plm_num.h \
 src/engine/file/../num/../base/plm_base.h
src/engine/file/json.h:
src/engine/file/plm_file.h:
src/engine/file/../num/plm_num.h:
src/engine/file/../num/../base/plm_base.h:
