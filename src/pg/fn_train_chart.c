/*
 * fn_train_chart.c -- the course of a training to look at: in a terminal, with braille dots, and as SVG.
 *
 * Two series: the training loss, and the held-out figure that says which weights are best.  Both are read with the caller's
 * rights, so that row-level security holds.
 */
#include "training.h"

#include <math.h>

#include "catalog/pg_type.h"
#include "funcapi.h"
#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/tuplestore.h"

/* ---- data ---- */

typedef struct Series
{
	int			n;
	int			room;
	double	   *x;
	double	   *y;
} Series;

typedef struct Course
{
	MemoryContext context;
	bool		found;
	char	   *title;
	char	   *metric;			/* NULL: nothing was held out */
	double		steps;			/* right end of the axis */
	double		best_step;		/* 0: none */
	double		best_value;
	Series		loss;
	Series		held_out;
} Course;

static double
real_column(TupleTableSlot *slot, int number)
{
	bool		null;
	Datum		value = slot_getattr(slot, number, &null);

	return null ? 0 : DatumGetFloat8(value);
}

static void
take_run(void *arg, TupleTableSlot *slot)
{
	Course	   *c = arg;
	MemoryContext old = MemoryContextSwitchTo(c->context);

	c->found = true;
	c->title = plmpg_slot_string(slot, 1);
	c->metric = plmpg_slot_string(slot, 2);
	c->steps = real_column(slot, 3);
	c->best_step = real_column(slot, 4);
	c->best_value = real_column(slot, 5);
	MemoryContextSwitchTo(old);
}

static void
take_point(void *arg, TupleTableSlot *slot)
{
	Course	   *c = arg;
	bool		null;
	Series	   *s = DatumGetBool(slot_getattr(slot, 1, &null)) ? &c->loss : &c->held_out;
	double		y = real_column(slot, 3);
	MemoryContext old = MemoryContextSwitchTo(c->context);

	if (s->n == s->room)
	{
		s->room = Max(256, s->room * 2);
		s->x = s->x == NULL ? palloc(s->room * sizeof(double)) : repalloc(s->x, s->room * sizeof(double));
		s->y = s->y == NULL ? palloc(s->room * sizeof(double)) : repalloc(s->y, s->room * sizeof(double));
	}
	if (isfinite(y))
	{
		s->x[s->n] = real_column(slot, 2);
		s->y[s->n++] = y;
	}
	MemoryContextSwitchTo(old);
}

static void
read_course(int32 run, Course *c)
{
	PlmpgParams p = {0};

	memset(c, 0, sizeof(*c));
	c->context = CurrentMemoryContext;
	plmpg_param(&p, INT4OID, Int32GetDatum(run), false);
	plmpg_sql("SELECT pg_catalog.format('training %s: %s, %s%s, step %s of %s, %s', r.run, r.model, r.task,"
			  " ' from ' || r.base, r.step, coalesce(r.steps::text, '?'), r.state), r.best_metric,"
			  " greatest(r.steps, r.step)::float8, r.best_step::float8, r.best_value"
			  " FROM product_llm.training_runs AS r WHERE r.run OPERATOR(pg_catalog.=) $1", &p, PLMPG_SQL_READ, NULL, take_run, c);
	if (!c->found)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("training %d does not exist", run),
				 errhint("SELECT run FROM product_llm.training_runs shows those of your own.")));
	plmpg_param_text(&p, c->metric);
	plmpg_sql("SELECT m.metric OPERATOR(pg_catalog.=) 'training_loss', m.step::float8, m.value FROM product_llm.training_metrics AS m"
			  " WHERE m.run OPERATOR(pg_catalog.=) $1 AND m.metric OPERATOR(pg_catalog.=) ANY (ARRAY['training_loss', $2])"
			  " ORDER BY m.metric, m.step", &p, PLMPG_SQL_READ, NULL, take_point, c);
}

/* ---- axes ---- */

typedef struct Axis
{
	double		low;
	double		high;
	double		step;			/* between ticks */
	int			decimals;
} Axis;

/* Ends at multiples of 1, 2 or 5 times a power of ten, with about n steps between. */
static Axis
nice_axis(double low, double high, int n)
{
	Axis		a = {low, high, 1, 0};
	double		raw;
	double		power;

	if (!(high > low))
	{
		double		pad = low != 0 ? fabs(low) * 0.1 : 1;

		low -= pad;
		high += pad;
	}
	raw = (high - low) / Max(n, 1);
	power = pow(10, floor(log10(raw)));
	a.step = raw / power <= 1 ? power : raw / power <= 2 ? 2 * power : raw / power <= 5 ? 5 * power : 10 * power;
	a.low = floor(low / a.step + 1e-9) * a.step;
	a.high = ceil(high / a.step - 1e-9) * a.step;
	a.decimals = Max(0, (int) ceil(-log10(a.step) - 1e-9));
	return a;
}

static Axis
axis_of(const Series *s, int n)
{
	double		low = s->y[0],
				high = s->y[0];

	for (int i = 1; i < s->n; i++)
	{
		low = Min(low, s->y[i]);
		high = Max(high, s->y[i]);
	}
	return nice_axis(low, high, n);
}

/* ---- a terminal: dots of 2 x 4 to a character ---- */

typedef struct Canvas
{
	int			width;			/* characters */
	int			height;
	unsigned char *dots;		/* (height, width) braille patterns */
} Canvas;

static void
set_dot(Canvas *c, int x, int y)
{
	static const unsigned char bits[4][2] = {{0x01, 0x08}, {0x02, 0x10}, {0x04, 0x20}, {0x40, 0x80}};

	if (x >= 0 && y >= 0 && x < c->width * 2 && y < c->height * 4)
		c->dots[y / 4 * c->width + x / 2] |= bits[y % 4][x % 2];
}

static void
draw_line(Canvas *c, int x0, int y0, int x1, int y1)
{
	int			n = Max(Max(abs(x1 - x0), abs(y1 - y0)), 1);

	for (int i = 0; i <= n; i++)
		set_dot(c, x0 + (int) lround((double) (x1 - x0) * i / n), y0 + (int) lround((double) (y1 - y0) * i / n));
}

static void
draw_series(Canvas *c, const Series *s, double right, const Axis *axis)
{
	int			before[2] = {0};

	for (int i = 0; i < s->n; i++)
	{
		int			x = (int) lround(s->x[i] / right * (c->width * 2 - 1));
		int			y = (int) lround((axis->high - s->y[i]) / (axis->high - axis->low) * (c->height * 4 - 1));

		draw_line(c, i == 0 ? x : before[0], i == 0 ? y : before[1], x, y);
		before[0] = x;
		before[1] = y;
	}
}

static void
put_line(Tuplestorestate *rows, TupleDesc desc, const char *line)
{
	Datum		value = PointerGetDatum(plmpg_text((PlmText) {line, strlen(line)}));
	bool		null = false;

	tuplestore_putvalues(rows, desc, &value, &null);
}

#define LABEL_WIDTH 8			/* characters before the axis */

static void
put_canvas(Tuplestorestate *rows, TupleDesc desc, const Canvas *c, const Axis *axis)
{
	int			ticks = Max(1, (int) lround((axis->high - axis->low) / axis->step));

	for (int row = 0; row < c->height; row++)
	{
		StringInfoData line;
		bool		tick = false;

		initStringInfo(&line);
		for (int t = 0; t <= ticks && !tick; t++)
			if ((int) lround((double) t / ticks * (c->height - 1)) == row)
			{
				tick = true;
				appendStringInfo(&line, "%*.*f \xe2\x94\xa4", LABEL_WIDTH - 1, axis->decimals, axis->high - t * axis->step);
			}
		if (!tick)
			appendStringInfo(&line, "%*s\xe2\x94\x82", LABEL_WIDTH, "");
		for (int i = 0; i < c->width; i++)
		{
			unsigned char dots = c->dots[row * c->width + i];

			/* U+2800 + pattern */
			if (dots == 0)
				appendStringInfoChar(&line, ' ');
			else
				appendStringInfo(&line, "\xe2%c%c", 0xa0 | (dots >> 6), 0x80 | (dots & 0x3f));
		}
		while (line.len > 0 && line.data[line.len - 1] == ' ')
			line.data[--line.len] = '\0';
		put_line(rows, desc, line.data);
		pfree(line.data);
	}
}

static void
put_bottom(Tuplestorestate *rows, TupleDesc desc, int width, double right)
{
	StringInfoData line;
	char	   *last = psprintf("%.0f", right);

	initStringInfo(&line);
	appendStringInfo(&line, "%*s\xe2\x94\x94", LABEL_WIDTH, "");
	for (int i = 0; i < width; i++)
		appendStringInfoString(&line, "\xe2\x94\x80");
	put_line(rows, desc, line.data);
	put_line(rows, desc, psprintf("%*s 0%*s", LABEL_WIDTH, "", width - 1, last));
}

static void
put_panel(Tuplestorestate *rows, TupleDesc desc, const Series *s, const char *title, int width, int height, double right)
{
	Canvas		c = {width, height, palloc0((Size) width * height)};
	Axis		axis = axis_of(s, Max(3, height / 3));

	put_line(rows, desc, title);
	draw_series(&c, s, right, &axis);
	put_canvas(rows, desc, &c, &axis);
	put_bottom(rows, desc, width, right);
}

static int
in_range(int32 value, int low, int high, const char *name)
{
	if (value < low || value > high)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s must be between %d and %d", name, low, high),
				 errhint("The default fits most screens.")));
	return value;
}

PG_FUNCTION_INFO_V1(product_llm_training_chart);

/* training_chart(run, width, height) -> setof text */
Datum
product_llm_training_chart(PG_FUNCTION_ARGS)
{
	int			width = in_range(PG_GETARG_INT32(1), 20, 500, "width") - LABEL_WIDTH - 1;
	int			height = in_range(PG_GETARG_INT32(2), 4, 200, "height");
	Course		c;
	PlmText		title;
	TupleDesc	desc;
	Tuplestorestate *rows;

	read_course(PG_GETARG_INT32(0), &c);
	rows = plmpg_result_set(fcinfo, &desc);
	title = plmpg_utf8(cstring_to_text(c.title));
	put_line(rows, desc, pnstrdup(title.data, title.len));
	if (c.loss.n == 0 && c.held_out.n == 0)
		put_line(rows, desc, "nothing has been measured yet");
	if (c.loss.n > 0)
		put_panel(rows, desc, &c.loss, psprintf("training loss, now %.4g", c.loss.y[c.loss.n - 1]), width, height, Max(c.steps, 1));
	if (c.held_out.n > 0)
		put_panel(rows, desc, &c.held_out,
				  psprintf("held-out %s, best %.4g after step %.0f", c.metric, c.best_value, c.best_step), width, Max(4, height * 2 / 3),
				  Max(c.steps, 1));
	return (Datum) 0;
}

/* ---- SVG ---- */

#define LOSS_COLOUR "#2563eb"
#define HELD_OUT_COLOUR "#d97706"
#define LEGEND_LINE 22			/* pixels, and 6 before the label */
#define LEGEND_SIZE 12
#define TICK_PIXELS 28			/* between two numbers of an upright axis, at the least */

/* Where the plot is within the image. */
typedef struct Frame
{
	int			left,
				top,
				right,
				bottom;
	double		steps;
} Frame;

static void
append_escaped(StringInfo s, const char *text)
{
	for (; *text != '\0'; text++)
		switch (*text)
		{
			case '<':
				appendStringInfoString(s, "&lt;");
				break;
			case '>':
				appendStringInfoString(s, "&gt;");
				break;
			case '&':
				appendStringInfoString(s, "&amp;");
				break;
			case '"':
				appendStringInfoString(s, "&quot;");
				break;
			default:
				appendStringInfoChar(s, *text);
		}
}

/* Pixels that a text takes, at the most as a rule: letters of 0.6 em, all beyond ASCII of one. */
static double
text_width(const char *text, double size)
{
	double		ems = 0;

	for (; *text != '\0'; text += pg_mblen(text))
		ems += (unsigned char) *text < 0x80 ? 0.6 : 1;
	return ems * size;
}

/* A text that may have less room than it takes; squeezed then. */
static void
append_text(StringInfo s, int x, int y, double size, const char *colour, const char *text, int room)
{
	appendStringInfo(s, "<text x=\"%d\" y=\"%d\" font-size=\"%g\"%s fill=\"%s\"", x, y, size, size > LEGEND_SIZE ? " font-weight=\"600\"" : "",
					 colour);
	if (text_width(text, size) > room)
		appendStringInfo(s, " textLength=\"%d\" lengthAdjust=\"spacingAndGlyphs\"", room);
	appendStringInfoChar(s, '>');
	append_escaped(s, text);
	appendStringInfoString(s, "</text>\n");
}

static double
place_x(const Frame *f, double x)
{
	return f->left + x / f->steps * (f->right - f->left);
}

static double
place_y(const Frame *f, const Axis *a, double y)
{
	return f->bottom - (y - a->low) / (a->high - a->low) * (f->bottom - f->top);
}

/* Ticks and their numbers at one side; with lines across for the left one. */
static void
append_y_axis(StringInfo s, const Frame *f, const Axis *a, bool left, const char *colour)
{
	int			ticks = Max(1, (int) lround((a->high - a->low) / a->step));

	for (int t = 0; t <= ticks; t++)
	{
		double		value = a->low + t * a->step;
		double		y = place_y(f, a, value);

		if (left)
			appendStringInfo(s, "<line x1=\"%d\" y1=\"%.1f\" x2=\"%d\" y2=\"%.1f\" stroke=\"#e5e7eb\"/>\n", f->left, y, f->right, y);
		appendStringInfo(s, "<text x=\"%d\" y=\"%.1f\" text-anchor=\"%s\" fill=\"%s\">%.*f</text>\n",
						 left ? f->left - 8 : f->right + 8, y + 4, left ? "end" : "start", colour, a->decimals, value);
	}
}

static void
append_x_axis(StringInfo s, const Frame *f)
{
	Axis		a = nice_axis(0, f->steps, Max(2, (f->right - f->left) / 110));

	for (double x = 0; x <= f->steps * 1.0001; x += a.step)
		appendStringInfo(s, "<line x1=\"%.1f\" y1=\"%d\" x2=\"%.1f\" y2=\"%d\" stroke=\"#9ca3af\"/>\n"
						 "<text x=\"%.1f\" y=\"%d\" text-anchor=\"middle\" fill=\"#4b5563\">%.*f</text>\n",
						 place_x(f, x), f->bottom, place_x(f, x), f->bottom + 5, place_x(f, x), f->bottom + 19, a.decimals, x);
	appendStringInfo(s, "<line x1=\"%d\" y1=\"%d\" x2=\"%d\" y2=\"%d\" stroke=\"#9ca3af\"/>\n", f->left, f->bottom, f->right, f->bottom);
	appendStringInfo(s, "<text x=\"%d\" y=\"%d\" text-anchor=\"middle\" fill=\"#4b5563\">step</text>\n", (f->left + f->right) / 2,
					 f->bottom + 37);
}

static void
append_series(StringInfo s, const Frame *f, const Axis *a, const Series *series, const char *colour, bool dots)
{
	appendStringInfo(s, "<polyline fill=\"none\" stroke=\"%s\" stroke-width=\"%s\" stroke-linejoin=\"round\" points=\"", colour,
					 dots ? "2" : "1.6");
	for (int i = 0; i < series->n; i++)
		appendStringInfo(s, "%s%.1f,%.1f", i > 0 ? " " : "", place_x(f, series->x[i]), place_y(f, a, series->y[i]));
	appendStringInfoString(s, "\"/>\n");
	for (int i = 0; dots && i < series->n; i++)
		appendStringInfo(s, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"3\" fill=\"#ffffff\" stroke=\"%s\" stroke-width=\"2\"/>\n",
						 place_x(f, series->x[i]), place_y(f, a, series->y[i]), colour);
}

/* Not beyond `right`. */
static void
append_legend(StringInfo s, int x, int y, int right, const char *colour, const char *label)
{
	appendStringInfo(s, "<line x1=\"%d\" y1=\"%d\" x2=\"%d\" y2=\"%d\" stroke=\"%s\" stroke-width=\"3\"/>\n", x, y - 4,
					 x + LEGEND_LINE, y - 4, colour);
	append_text(s, x + LEGEND_LINE + 6, y, LEGEND_SIZE, "#1f2937", label, right - x - LEGEND_LINE - 6);
}

static char *
held_out_label(const Course *c)
{
	return psprintf("held-out %s, best %.4g after step %.0f", c->metric, c->best_value, c->best_step);
}

/* Side by side over the plot, or one over the other where the image is narrow. */
static void
append_legends(StringInfo s, const Frame *f, const Course *c)
{
	static const char *const loss = "training loss";
	const char *held_out = c->held_out.n > 0 ? held_out_label(c) : "";
	int			second = f->left + 2 * (LEGEND_LINE + 6) + (int) text_width(loss, LEGEND_SIZE);
	bool		beside = second + LEGEND_LINE + 6 + text_width(held_out, LEGEND_SIZE) <= f->right;
	int			y = f->top - 14;

	if (c->loss.n > 0)
		append_legend(s, f->left, beside || c->held_out.n == 0 ? y : y - 16, f->right, LOSS_COLOUR, loss);
	if (c->held_out.n > 0)
		append_legend(s, beside && c->loss.n > 0 ? second : f->left, y, f->right, HELD_OUT_COLOUR, held_out);
}

/* The series with their axes; a mark at the best. */
static void
append_plot(StringInfo s, const Frame *f, const Course *c)
{
	int			ticks = Max(1, Min(5, (f->bottom - f->top) / TICK_PIXELS));
	Axis		a;

	append_legends(s, f, c);
	if (c->loss.n > 0)
	{
		a = axis_of(&c->loss, ticks);
		append_y_axis(s, f, &a, true, LOSS_COLOUR);
		append_series(s, f, &a, &c->loss, LOSS_COLOUR, false);
	}
	if (c->held_out.n == 0)
		return;
	a = axis_of(&c->held_out, ticks);
	append_y_axis(s, f, &a, c->loss.n == 0, HELD_OUT_COLOUR);
	append_series(s, f, &a, &c->held_out, HELD_OUT_COLOUR, true);
	if (c->best_step > 0)
		appendStringInfo(s, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"5\" fill=\"%s\"/>\n", place_x(f, c->best_step),
						 place_y(f, &a, c->best_value), HELD_OUT_COLOUR);
}

PG_FUNCTION_INFO_V1(product_llm_training_svg);

/* training_svg(run, width, height) -> text */
Datum
product_llm_training_svg(PG_FUNCTION_ARGS)
{
	int			width = in_range(PG_GETARG_INT32(1), 320, 10000, "width");
	int			height = in_range(PG_GETARG_INT32(2), 200, 10000, "height");
	Frame		f = {64, 74, width - 64, height - 52, 1};
	Course		c;
	StringInfoData s;

	read_course(PG_GETARG_INT32(0), &c);
	f.steps = Max(c.steps, 1);
	initStringInfo(&s);
	appendStringInfo(&s, "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" viewBox=\"0 0 %d %d\""
					 " font-family=\"system-ui, sans-serif\" font-size=\"12\">\n<rect width=\"%d\" height=\"%d\" fill=\"#ffffff\"/>\n",
					 width, height, width, height, width, height);
	append_text(&s, 16, 30, 15, "#111827", c.title, width - 32);
	append_plot(&s, &f, &c);
	append_x_axis(&s, &f);
	appendStringInfoString(&s, "</svg>\n");
	PG_RETURN_TEXT_P(cstring_to_text_with_len(s.data, s.len));
}
